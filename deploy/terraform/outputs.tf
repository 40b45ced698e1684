output "load_balancer_dns_name" {
  description = "For the record of the name in channel.endpoint"
  value       = aws_lb.lakehook.dns_name
}

output "load_balancer_zone_id" {
  value = aws_lb.lakehook.zone_id
}

output "task_role_arn" {
  description = "For the trust policy of healthlake_role_arn, and for key policies"
  value       = aws_iam_role.task.arn
}

output "service_security_group_id" {
  description = "For the CDR and for VPC endpoints, which must let it in"
  value       = aws_security_group.service.id
}

output "dead_letters" {
  description = "The setting dead-letters, which the commands need too; empty where it is off"
  value       = local.dead_letters
}

output "log_group_name" {
  value = aws_cloudwatch_log_group.lakehook.name
}
