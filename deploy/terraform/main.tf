# lakehook on ECS Fargate: several tasks behind a load balancer, with DynamoDB as their common memory.
# docs/deploy.md has an example.

data "aws_region" "current" {}

locals {
  # The ARN has all of them: arn:aws:healthlake:REGION:ACCOUNT:datastore/fhir/ID
  datastore_region = split(":", var.healthlake_datastore_arn)[3]
  datastore_id     = element(split("/", var.healthlake_datastore_arn), 2)
  endpoint = coalesce(
    var.healthlake_endpoint,
    "https://healthlake.${local.datastore_region}.amazonaws.com/datastore/${local.datastore_id}/r4/",
  )

  # The order in which an end takes place: the target is seen to be unhealthy (check_interval × check_failures), the
  # drain delay is over, deliveries in flight end, the platform's patience ends.
  check_interval = 5
  check_failures = 2
  drain_delay    = 12
  drain_timeout  = 15

  # One of the two is made, or none.
  dead_letters = join("", concat(
    [for bucket in aws_s3_bucket.dead_letters : "s3://${bucket.bucket}/"],
    [for queue in aws_sqs_queue.dead_letters : "sqs:${queue.url}"],
  ))

  settings = merge(
    {
      listen              = "0.0.0.0:8080"
      healthlake-endpoint = local.endpoint
      region              = local.datastore_region
      order-store         = "dynamodb:${var.name}-order"
      drain-delay         = "${local.drain_delay}s"
      drain-timeout       = "${local.drain_timeout}s"
      log-format          = "json"
    },
    var.healthlake_role_arn == null ? {} : { role-arn = var.healthlake_role_arn },
    var.dead_letters == "off" ? {} : {
      dead-letters           = local.dead_letters
      dead-letters-retention = "${var.dead_letters_retention_days}days"
    },
    var.dead_letters == "s3" && var.dead_letters_kms_key_arn != null ? { dead-letters-kms-key = var.dead_letters_kms_key_arn } : {},
    var.settings,
  )
  secrets = merge({ token = var.token_secret_arn }, var.secret_settings)
}

module "order" {
  source = "../dynamodb"

  lakehook_order_table_name  = "${var.name}-order"
  lakehook_order_kms_key_arn = var.order_kms_key_arn
}

resource "aws_cloudwatch_log_group" "lakehook" {
  name              = "/lakehook/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_kms_key_arn
  tags              = var.tags
}

resource "aws_ecs_task_definition" "lakehook" {
  family                   = var.name
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn
  tags                     = var.tags

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  container_definitions = jsonencode([
    {
      name                   = "lakehook"
      image                  = var.image
      essential              = true
      command                = ["serve"]
      user                   = "65532:65532"
      readonlyRootFilesystem = true
      linuxParameters        = { capabilities = { drop = ["ALL"] } }
      portMappings           = [{ containerPort = 8080, protocol = "tcp" }]
      stopTimeout            = local.drain_delay + local.drain_timeout + 10
      environment = [
        for flag, value in local.settings : { name = "LAKEHOOK_${upper(replace(flag, "-", "_"))}", value = value }
      ]
      secrets = [
        for flag, arn in local.secrets : { name = "LAKEHOOK_${upper(replace(flag, "-", "_"))}", valueFrom = arn }
      ]
      ulimits = [{ name = "nofile", softLimit = 32768, hardLimit = 32768 }]
      logConfiguration = {
        logDriver = "awslogs"
        options = {
          awslogs-group         = aws_cloudwatch_log_group.lakehook.name
          awslogs-region        = data.aws_region.current.id
          awslogs-stream-prefix = "lakehook"
        }
      }
    }
  ])
}

resource "aws_ecs_service" "lakehook" {
  name            = var.name
  cluster         = var.cluster_arn
  task_definition = aws_ecs_task_definition.lakehook.arn
  launch_type     = "FARGATE"
  desired_count   = var.min_tasks
  propagate_tags  = "SERVICE"
  tags            = var.tags

  # A new task serves before an old one ends.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 30

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.service_subnet_ids
    security_groups  = [aws_security_group.service.id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.lakehook.arn
    container_name   = "lakehook"
    container_port   = 8080
  }

  # A target group without a listener takes no service.
  depends_on = [aws_lb_listener.https]

  lifecycle {
    # Autoscaling decides.
    ignore_changes = [desired_count]
  }
}

resource "aws_appautoscaling_target" "lakehook" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${element(split("/", var.cluster_arn), 1)}/${aws_ecs_service.lakehook.name}"
  min_capacity       = var.min_tasks
  max_capacity       = var.max_tasks
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.name}-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.lakehook.service_namespace
  scalable_dimension = aws_appautoscaling_target.lakehook.scalable_dimension
  resource_id        = aws_appautoscaling_target.lakehook.resource_id

  target_tracking_scaling_policy_configuration {
    # Validation is what takes the CPU; waiting for HealthLake takes none.
    target_value = 60

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
