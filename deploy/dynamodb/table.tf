# The order store's table, for Terraform. One item a resource, under 1 KB. A delivery costs two write units.

variable "lakehook_order_table_name" {
  type    = string
  default = "lakehook-order"
}

variable "lakehook_order_kms_key_arn" {
  description = "A key of your own; null for the one that AWS owns, which costs nothing. docs/iam.md has what it needs."
  type        = string
  default     = null
}

resource "aws_dynamodb_table" "lakehook_order" {
  name = var.lakehook_order_table_name

  # The load of a CDR comes in bursts; throttled deliveries come again, but late.
  billing_mode = "PAY_PER_REQUEST"

  hash_key = "pk"
  attribute {
    name = "pk"
    type = "S"
  }

  # Cleans up only: lakehook reads the time itself.
  ttl {
    attribute_name = "expires"
    enabled        = true
  }

  # Off: a restored table knows what was true then, which serves hardly better than an empty one, and a lost one
  # loses no resource. Switch it on where a policy asks for it; nothing here depends on it.
  point_in_time_recovery {
    enabled = false
  }

  # Encrypted in any case; this chooses the key.
  server_side_encryption {
    enabled     = var.lakehook_order_kms_key_arn != null
    kms_key_arn = var.lakehook_order_kms_key_arn
  }

  # Its loss loses no resource, but until every resource was delivered anew an old version may overtake a new one.
  deletion_protection_enabled = true
}

output "lakehook_order_table_arn" {
  description = "For the policy in docs/iam.md"
  value       = aws_dynamodb_table.lakehook_order.arn
}
