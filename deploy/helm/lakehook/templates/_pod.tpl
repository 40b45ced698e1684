{{/* The pod, the same in the Deployment and the StatefulSet. */}}
{{- define "lakehook.pod" -}}
metadata:
  labels:
    {{- include "lakehook.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "lakehook.serviceAccountName" . }}
  # lakehook does not speak to Kubernetes. IRSA and Pod Identity mount tokens of their own.
  automountServiceAccountToken: false
  # A Service named lakehook would add variables such as LAKEHOOK_PORT, which look like settings.
  enableServiceLinks: false
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  # The drain, and time to close the order store
  terminationGracePeriodSeconds: {{ add .Values.drain.delaySeconds .Values.drain.timeoutSeconds 10 }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile:
      type: RuntimeDefault
  containers:
    - name: lakehook
      image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities:
          drop: [ALL]
      env:
        - name: LAKEHOOK_LISTEN
          value: "0.0.0.0:8080"
        - name: LAKEHOOK_ADMIN_LISTEN
          value: {{ ternary "0.0.0.0:8081" "127.0.0.1:8081" .Values.metrics.enabled | quote }}
        - name: LAKEHOOK_HEALTHLAKE_ENDPOINT
          value: {{ .Values.healthlakeEndpoint | quote }}
        {{- if include "lakehook.severalReplicas" . }}
        - name: LAKEHOOK_ORDER_STORE
          value: {{ printf "dynamodb:%s" .Values.order.table | quote }}
        {{- else }}
        - name: LAKEHOOK_DATA_DIR
          value: /var/lib/lakehook/data
        {{- end }}
        {{- if .Values.tokens.existingSecret }}
        - name: LAKEHOOK_TOKEN_FILE
          value: {{ printf "/etc/lakehook/tokens/%s" .Values.tokens.key | quote }}
        {{- end }}
        - name: LAKEHOOK_DRAIN_DELAY
          value: {{ printf "%ds" (int .Values.drain.delaySeconds) | quote }}
        - name: LAKEHOOK_DRAIN_TIMEOUT
          value: {{ printf "%ds" (int .Values.drain.timeoutSeconds) | quote }}
        {{- range $flag, $value := .Values.settings }}
        - name: LAKEHOOK_{{ $flag | upper | replace "-" "_" }}
          {{- /* A large whole number comes out of YAML as a float. */}}
          value: {{ ternary (printf "%.0f" $value) (toString $value) (and (kindIs "float64" $value) (eq (floor $value) $value)) | quote }}
        {{- end }}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - name: http
          containerPort: 8080
        {{- if .Values.metrics.enabled }}
        - name: admin
          containerPort: 8081
        {{- end }}
      # Alive, draining included
      livenessProbe:
        httpGet:
          path: /livez
          port: http
          {{- if hasKey .Values.settings "tls-cert" }}
          scheme: HTTPS
          {{- end }}
        periodSeconds: 10
        failureThreshold: 6
        timeoutSeconds: 2
      # Can forward: credentials are there, and the end is not near
      readinessProbe:
        httpGet:
          path: /readyz
          port: http
          {{- if hasKey .Values.settings "tls-cert" }}
          scheme: HTTPS
          {{- end }}
        periodSeconds: 5
        failureThreshold: 2
        timeoutSeconds: 2
      # A large order file is checked page by page before anything is served.
      startupProbe:
        httpGet:
          path: /livez
          port: http
          {{- if hasKey .Values.settings "tls-cert" }}
          scheme: HTTPS
          {{- end }}
        periodSeconds: 2
        failureThreshold: 150
        timeoutSeconds: 2
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        {{- if .Values.tokens.existingSecret }}
        # A directory: what is mounted by subPath is not renewed when the Secret changes.
        - name: tokens
          mountPath: /etc/lakehook/tokens
          readOnly: true
        {{- end }}
        {{- if not (include "lakehook.severalReplicas" .) }}
        - name: data
          mountPath: /var/lib/lakehook
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    {{- if .Values.tokens.existingSecret }}
    - name: tokens
      secret:
        secretName: {{ .Values.tokens.existingSecret }}
        defaultMode: 0440
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  topologySpreadConstraints:
    {{- with .Values.topologySpreadConstraints }}
    {{- toYaml . | nindent 4 }}
    {{- else }}
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "lakehook.selectorLabels" $ | nindent 10 }}
    {{- end }}
    {{- end }}
{{- end }}
