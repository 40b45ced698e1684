# Alarms on what the load balancer, the tables and lakehook's own log tell. deploy/monitoring has finer ones, for
# Prometheus.

locals {
  # Verdicts of the delivery log that want somebody's attention, with how many in 5 minutes are too many.
  verdicts = {
    credentials-refused = {
      pattern   = "{ $.verdict = \"credentials-refused\" }"
      threshold = 1
      text      = "AWS does not accept lakehook's credentials; nothing is forwarded. docs/troubleshooting.md"
    }
    refused-for-good = {
      pattern   = "{ ($.verdict = \"refused-by-healthlake\") || ($.verdict = \"invalid\") || ($.verdict = \"too-large\") || ($.verdict = \"dead-lettered\") }"
      threshold = 1
      text      = "HealthLake lacks these versions until the resources are corrected in the CDR. docs/troubleshooting.md"
    }
    dead-lettered = {
      pattern   = "{ $.verdict = \"dead-lettered\" }"
      threshold = 1
      text      = "A version was refused for good and kept. docs/dead-letters.md"
    }
    order-unavailable = {
      pattern   = "{ $.verdict = \"order-unavailable\" }"
      threshold = 1
      text      = "The order table fails: permissions, throttling or network. docs/troubleshooting.md"
    }
    throttled = {
      pattern   = "{ $.verdict = \"throttled\" }"
      threshold = 50
      text      = "HealthLake throttles. docs/troubleshooting.md"
    }
    unauthenticated = {
      pattern   = "{ $.verdict = \"unauthenticated\" }"
      threshold = 1
      text      = "Somebody calls with a wrong token or none. docs/troubleshooting.md"
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "verdict" {
  for_each = local.verdicts

  name           = "${var.name}-${each.key}"
  log_group_name = aws_cloudwatch_log_group.lakehook.name
  pattern        = each.value.pattern

  metric_transformation {
    namespace = "lakehook/${var.name}"
    name      = each.key
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "verdict" {
  for_each = local.verdicts

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.text
  namespace           = "lakehook/${var.name}"
  metric_name         = each.key
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = each.value.threshold
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "unhealthy" {
  alarm_name          = "${var.name}-no-healthy-task"
  alarm_description   = "No task passes /healthz; the CDR repeats, HAPI for 58 s"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "HealthyHostCount"
  dimensions          = { LoadBalancer = aws_lb.lakehook.arn_suffix, TargetGroup = aws_lb_target_group.lakehook.arn_suffix }
  statistic           = "Minimum"
  period              = 60
  evaluation_periods  = 2
  threshold           = 1
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "failing" {
  alarm_name          = "${var.name}-failing"
  alarm_description   = "More than 5% of the deliveries end in a 5xx for 10 minutes. docs/failure-modes.md"
  evaluation_periods  = 10
  threshold           = 5
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags

  metric_query {
    id          = "percent"
    label       = "5xx, percent"
    expression  = "100 * FILL(failed, 0) / requests"
    return_data = true
  }

  metric_query {
    id = "failed"
    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "HTTPCode_Target_5XX_Count"
      dimensions  = { LoadBalancer = aws_lb.lakehook.arn_suffix }
      stat        = "Sum"
      period      = 60
    }
  }

  metric_query {
    id = "requests"
    metric {
      namespace   = "AWS/ApplicationELB"
      metric_name = "RequestCount"
      dimensions  = { LoadBalancer = aws_lb.lakehook.arn_suffix }
      stat        = "Sum"
      period      = 60
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "slow" {
  alarm_name          = "${var.name}-slow"
  alarm_description   = "One delivery in a hundred takes more than 6 s; the deadline is 8 s. Compare HealthLake's own latency"
  namespace           = "AWS/ApplicationELB"
  metric_name         = "TargetResponseTime"
  dimensions          = { LoadBalancer = aws_lb.lakehook.arn_suffix }
  extended_statistic  = "p99"
  period              = 60
  evaluation_periods  = 10
  threshold           = 6
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "order_throttled" {
  alarm_name          = "${var.name}-order-throttled"
  alarm_description   = "DynamoDB throttles the order table"
  namespace           = "AWS/DynamoDB"
  metric_name         = "WriteThrottleEvents"
  dimensions          = { TableName = "${var.name}-order" }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "dead_letters" {
  count = length(aws_sqs_queue.dead_letters)

  alarm_name          = "${var.name}-dead-letters"
  alarm_description   = "Deliveries wait in the dead letter queue, for ${min(var.dead_letters_retention_days, 14)} days at the most"
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = aws_sqs_queue.dead_letters[0].name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}
