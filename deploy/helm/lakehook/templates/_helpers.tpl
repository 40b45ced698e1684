{{- define "lakehook.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "lakehook.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "lakehook.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "lakehook.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "lakehook.selectorLabels" -}}
app.kubernetes.io/name: {{ include "lakehook.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lakehook.labels" -}}
{{ include "lakehook.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "lakehook.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "lakehook.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "lakehook.severalReplicas" -}}
{{- if eq .Values.order.store "dynamodb" }}true{{ end }}
{{- end }}

{{/* What can't work is refused before it is installed. */}}
{{- define "lakehook.checkValues" -}}
{{- if not .Values.healthlakeEndpoint }}
{{- fail "healthlakeEndpoint is not set: the data store's URL, as `aws healthlake describe-fhir-datastore` shows it" }}
{{- end }}
{{- $own := false }}
{{- range list "token-file" "basic-file" "hmac-secret-file" "tls-client-ca" "allow-anonymous" }}
{{- if hasKey $.Values.settings . }}{{ $own = true }}{{ end }}
{{- end }}
{{- if not (or .Values.tokens.existingSecret $own) }}
{{- fail "nothing authenticates the CDR, and lakehook would not start: set tokens.existingSecret, or settings.basic-file, settings.hmac-secret-file or settings.tls-client-ca with a mounted file" }}
{{- end }}
{{- range list "token" "basic" "hmac-secret" "admin-token" "cdr-token" "cdr-basic" "role-external-id" }}
{{- if hasKey $.Values.settings . }}
{{- fail (printf "settings.%s is a secret, and would stand in the release in plain text: mount it and set its -file setting, or take it from a Secret in extraEnv" .) }}
{{- end }}
{{- end }}
{{- range list "listen" "admin-listen" "healthlake-endpoint" "order-store" "data-dir" "drain-delay" "drain-timeout" }}
{{- if hasKey $.Values.settings . }}
{{- fail (printf "settings.%s is set by the chart: use the chart's own value for it" .) }}
{{- end }}
{{- end }}
{{- if and .Values.tokens.existingSecret (hasKey .Values.settings "token-file") }}
{{- fail "tokens.existingSecret and settings.token-file are both given: keep one" }}
{{- end }}
{{- end }}
