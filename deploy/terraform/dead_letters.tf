# Deliveries that were refused for good, with their content: patient data. One of the two, or none.

resource "aws_s3_bucket" "dead_letters" {
  count = var.dead_letters == "s3" ? 1 : 0

  bucket_prefix = "${var.name}-dead-letters-"
  tags          = var.tags
}

resource "aws_s3_bucket_public_access_block" "dead_letters" {
  count = length(aws_s3_bucket.dead_letters)

  bucket                  = aws_s3_bucket.dead_letters[0].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "dead_letters" {
  count = length(aws_s3_bucket.dead_letters)

  bucket = aws_s3_bucket.dead_letters[0].id

  rule {
    bucket_key_enabled = var.dead_letters_kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.dead_letters_kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.dead_letters_kms_key_arn
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "dead_letters" {
  count = length(aws_s3_bucket.dead_letters)

  bucket = aws_s3_bucket.dead_letters[0].id

  rule {
    id     = "retention"
    status = "Enabled"

    filter {}

    # What lakehook's own retention left behind
    expiration {
      days = var.dead_letters_retention_days + 7
    }
  }
}

data "aws_iam_policy_document" "dead_letters_tls" {
  count = length(aws_s3_bucket.dead_letters)

  statement {
    sid       = "OnlyByTls"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.dead_letters[0].arn, "${aws_s3_bucket.dead_letters[0].arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "dead_letters" {
  count = length(aws_s3_bucket.dead_letters)

  bucket = aws_s3_bucket.dead_letters[0].id
  policy = data.aws_iam_policy_document.dead_letters_tls[0].json

  depends_on = [aws_s3_bucket_public_access_block.dead_letters]
}

resource "aws_sqs_queue" "dead_letters" {
  count = var.dead_letters == "sqs" ? 1 : 0

  name = "${var.name}-dead-letters"
  # No redrive policy: each look at the letters counts as a receive.
  message_retention_seconds = min(var.dead_letters_retention_days, 14) * 86400
  kms_master_key_id         = var.dead_letters_kms_key_arn
  sqs_managed_sse_enabled   = var.dead_letters_kms_key_arn == null ? true : null
  tags                      = var.tags
}
