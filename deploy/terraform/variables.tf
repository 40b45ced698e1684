# What must be given

variable "image" {
  description = "The image, by digest or tag; deploy/Dockerfile builds it"
  type        = string
}

variable "healthlake_datastore_arn" {
  description = "arn:aws:healthlake:REGION:ACCOUNT:datastore/fhir/ID"
  type        = string

  validation {
    condition     = can(regex("^arn:aws[a-z-]*:healthlake:[a-z0-9-]+:[0-9]{12}:datastore/fhir/[0-9a-f]{32}$", var.healthlake_datastore_arn))
    error_message = "Not the ARN of a HealthLake data store: arn:aws:healthlake:REGION:ACCOUNT:datastore/fhir/ID."
  }
}

variable "cluster_arn" {
  description = "The ECS cluster"
  type        = string
}

variable "vpc_id" {
  type = string
}

variable "service_subnet_ids" {
  description = "Private subnets of the tasks, with a way to HealthLake, STS, DynamoDB, Secrets Manager, CloudWatch Logs and the image: docs/network.md"
  type        = list(string)
}

variable "load_balancer_subnet_ids" {
  description = "Subnets of the load balancer, in two zones or more"
  type        = list(string)
}

variable "certificate_arn" {
  description = "ACM certificate of the name in channel.endpoint"
  type        = string
}

variable "token_secret_arn" {
  description = "Secrets Manager secret whose whole text is the CDR's bearer token. ECS hands it over as a variable, read when a task starts"
  type        = string
}

# What may be given

variable "name" {
  description = "Name, or its beginning, of everything here"
  type        = string
  default     = "lakehook"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,19}$", var.name))
    error_message = "Lower-case letters, digits and dashes, 2 to 20 of them: load balancers and target groups have short names."
  }
}

variable "healthlake_endpoint" {
  description = "Where it is not the usual host: FIPS or dual stack, docs/iam.md"
  type        = string
  default     = null
}

variable "healthlake_role_arn" {
  description = "A role to assume for HealthLake, in another account say. Null: the task's own role has the policy"
  type        = string
  default     = null
}

variable "healthlake_kms_key_arn" {
  description = "The data store's key, where it is one of yours"
  type        = string
  default     = null
}

variable "additional_healthlake_actions" {
  description = "Actions of commands besides serve, run as tasks with this role"
  type        = list(string)
  default     = []
}

variable "settings" {
  description = "Any other setting by its flag's name without the dashes, docs/configuration.md: { cdr-url = \"https://…\", validation = \"structure\" }"
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.settings), ["token", "basic", "hmac-secret", "admin-token", "cdr-token", "cdr-basic", "role-external-id"])) == 0
    error_message = "A secret would stand in the task definition in plain text: give it by secret_settings."
  }
}

variable "secret_settings" {
  description = "Settings that are secrets, each the ARN of a Secrets Manager secret: { cdr-token = \"arn:aws:secretsmanager:…\" }"
  type        = map(string)
  default     = {}
}

variable "secrets_kms_key_arn" {
  description = "The secrets' key, where it is one of yours"
  type        = string
  default     = null
}

variable "cdr_security_group_ids" {
  description = "Who may deliver, by security group"
  type        = list(string)
  default     = []
}

variable "cdr_cidr_blocks" {
  description = "Who may deliver, by address"
  type        = list(string)
  default     = []
}

variable "cdr_api" {
  description = "For the setting cdr-url, where the CDR's port is not 443: its addresses and port"
  type        = object({ cidr_block = string, port = number })
  default     = null
}

variable "internal" {
  description = "false: the load balancer is on the internet"
  type        = bool
  default     = true
}

variable "access_logs_bucket" {
  description = "S3 bucket for the load balancer's log. It has URLs, and so resources' ids"
  type        = string
  default     = null
}

variable "cpu_architecture" {
  description = "The image's: X86_64 or ARM64"
  type        = string
  default     = "X86_64"
}

variable "cpu" {
  description = "CPU units of a task, 1024 for a core"
  type        = number
  default     = 512
}

variable "memory" {
  description = "MiB of a task; above max-bytes-in-flight (256) and order-memory (64) together"
  type        = number
  default     = 1024
}

variable "min_tasks" {
  type    = number
  default = 2
}

variable "max_tasks" {
  type    = number
  default = 6
}

variable "order_kms_key_arn" {
  description = "A key of yours for the order table; null for the one that AWS owns"
  type        = string
  default     = null
}

variable "dead_letters" {
  description = "Where deliveries that are refused for good are kept: off, s3 or sqs. They hold whole resources; docs/dead-letters.md"
  type        = string
  default     = "off"

  validation {
    condition     = contains(["off", "s3", "sqs"], var.dead_letters)
    error_message = "One of off, s3, sqs."
  }
}

variable "dead_letters_kms_key_arn" {
  description = "A key of yours for the dead letters; null for S3's own, and SQS's"
  type        = string
  default     = null
}

variable "dead_letters_retention_days" {
  description = "Those refused last longer ago than this are removed; a queue keeps them for 14 days at the most"
  type        = number
  default     = 90
}

variable "log_retention_days" {
  type    = number
  default = 90
}

variable "log_kms_key_arn" {
  description = "A key of yours for the log; null for the one of CloudWatch"
  type        = string
  default     = null
}

variable "alarm_topic_arns" {
  description = "SNS topics that alarms are sent to"
  type        = list(string)
  default     = []
}

variable "tags" {
  type    = map(string)
  default = {}
}
