# docs/iam.md says what each action is for.

data "aws_iam_policy_document" "ecs_tasks" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# The execution role: what ECS does before lakehook runs.

resource "aws_iam_role" "execution" {
  name_prefix        = "${var.name}-execution-"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
  tags               = var.tags
}

resource "aws_iam_role_policy_attachment" "execution" {
  role       = aws_iam_role.execution.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

data "aws_iam_policy_document" "secrets" {
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = values(local.secrets)
  }

  dynamic "statement" {
    for_each = var.secrets_kms_key_arn == null ? [] : [var.secrets_kms_key_arn]
    content {
      sid       = "KeyOfTheSecrets"
      actions   = ["kms:Decrypt"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role_policy" "secrets" {
  name   = "secrets"
  role   = aws_iam_role.execution.id
  policy = data.aws_iam_policy_document.secrets.json
}

# The task role: what lakehook does.

locals {
  partition = split(":", var.healthlake_datastore_arn)[1]
}

data "aws_iam_policy_document" "task" {
  dynamic "statement" {
    for_each = var.healthlake_role_arn == null ? [var.healthlake_datastore_arn] : []
    content {
      sid = "MirrorIntoOneDataStore"
      actions = concat(
        [
          "healthlake:UpdateResource",
          "healthlake:DeleteResource",
          "healthlake:ReadResource",
          "healthlake:GetCapabilities",
        ],
        var.additional_healthlake_actions,
      )
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.healthlake_role_arn == null ? [] : [var.healthlake_role_arn]
    content {
      sid       = "RoleOfTheDataStore"
      actions   = ["sts:AssumeRole"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.healthlake_role_arn == null && var.healthlake_kms_key_arn != null ? [var.healthlake_kms_key_arn] : []
    content {
      sid       = "KeyOfTheDataStore"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"]
      resources = [statement.value]
    }
  }

  statement {
    sid       = "OrderStore"
    actions   = ["dynamodb:UpdateItem", "dynamodb:GetItem", "dynamodb:DescribeTable"]
    resources = [module.order.lakehook_order_table_arn]
  }

  dynamic "statement" {
    for_each = var.order_kms_key_arn == null ? [] : [var.order_kms_key_arn]
    content {
      sid = "KeyOfTheOrderStore"
      actions = [
        "kms:Encrypt",
        "kms:Decrypt",
        "kms:ReEncrypt*",
        "kms:GenerateDataKey*",
        "kms:DescribeKey",
        "kms:CreateGrant",
      ]
      resources = [statement.value]
      condition {
        test     = "StringEquals"
        variable = "kms:ViaService"
        values   = ["dynamodb.${data.aws_region.current.id}.amazonaws.com"]
      }
    }
  }

  dynamic "statement" {
    for_each = aws_s3_bucket.dead_letters[*].arn
    content {
      sid       = "DeadLetterObjects"
      actions   = ["s3:PutObject", "s3:GetObject", "s3:DeleteObject"]
      resources = ["${statement.value}/*"]
    }
  }

  dynamic "statement" {
    for_each = aws_s3_bucket.dead_letters[*].arn
    content {
      sid       = "DeadLetterList"
      actions   = ["s3:ListBucket"]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = aws_sqs_queue.dead_letters[*].arn
    content {
      sid = "DeadLetterQueue"
      actions = [
        "sqs:SendMessage",
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:GetQueueAttributes",
      ]
      resources = [statement.value]
    }
  }

  dynamic "statement" {
    for_each = var.dead_letters == "off" || var.dead_letters_kms_key_arn == null ? [] : [var.dead_letters_kms_key_arn]
    content {
      sid       = "KeyOfTheDeadLetters"
      actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
      resources = [statement.value]
    }
  }
}

resource "aws_iam_role" "task" {
  name_prefix        = "${var.name}-task-"
  assume_role_policy = data.aws_iam_policy_document.ecs_tasks.json
  tags               = var.tags
}

resource "aws_iam_role_policy" "task" {
  name   = "lakehook"
  role   = aws_iam_role.task.id
  policy = data.aws_iam_policy_document.task.json
}
