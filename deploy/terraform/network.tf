# The way in: TLS to the load balancer, HTTP from there to the tasks, inside the VPC.

resource "aws_security_group" "load_balancer" {
  name_prefix = "${var.name}-lb-"
  description = "Load balancer of lakehook"
  vpc_id      = var.vpc_id
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "cdr_group" {
  for_each = toset(var.cdr_security_group_ids)

  security_group_id            = aws_security_group.load_balancer.id
  description                  = "Deliveries of the CDR"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_security_group_ingress_rule" "cdr_address" {
  for_each = toset(var.cdr_cidr_blocks)

  security_group_id = aws_security_group.load_balancer.id
  description       = "Deliveries of the CDR"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "to_service" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "Deliveries and health checks"
  referenced_security_group_id = aws_security_group.service.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
}

resource "aws_security_group" "service" {
  name_prefix = "${var.name}-"
  description = "Tasks of lakehook"
  vpc_id      = var.vpc_id
  tags        = var.tags

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  security_group_id            = aws_security_group.service.id
  description                  = "Deliveries and health checks"
  referenced_security_group_id = aws_security_group.load_balancer.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = 8080
}

resource "aws_vpc_security_group_egress_rule" "aws" {
  security_group_id = aws_security_group.service.id
  description       = "HealthLake, STS, DynamoDB and the rest of AWS, which have no fixed addresses"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_egress_rule" "cdr_api" {
  count = var.cdr_api == null ? 0 : 1

  security_group_id = aws_security_group.service.id
  description       = "API of the CDR"
  cidr_ipv4         = var.cdr_api.cidr_block
  ip_protocol       = "tcp"
  from_port         = var.cdr_api.port
  to_port           = var.cdr_api.port
}

resource "aws_lb" "lakehook" {
  name                       = var.name
  internal                   = var.internal
  load_balancer_type         = "application"
  security_groups            = [aws_security_group.load_balancer.id]
  subnets                    = var.load_balancer_subnet_ids
  drop_invalid_header_fields = true
  # Shorter than lakehook's keep-alive (75 s).
  idle_timeout = 60
  tags         = var.tags

  dynamic "access_logs" {
    for_each = var.access_logs_bucket == null ? [] : [var.access_logs_bucket]
    content {
      bucket  = access_logs.value
      prefix  = var.name
      enabled = true
    }
  }
}

resource "aws_lb_target_group" "lakehook" {
  name        = var.name
  vpc_id      = var.vpc_id
  target_type = "ip"
  port        = 8080
  protocol    = "HTTP"
  # No shorter than the setting deadline (8 s).
  deregistration_delay = 15
  tags                 = var.tags

  # Not /readyz: when HealthLake or STS fails, an answer that says so is better than the load balancer's own.
  health_check {
    path                = "/healthz"
    protocol            = "HTTP"
    matcher             = "200"
    interval            = local.check_interval
    timeout             = 2
    healthy_threshold   = 2
    unhealthy_threshold = local.check_failures
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.lakehook.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn
  tags              = var.tags

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.lakehook.arn
  }
}
