{{- define "server-bridge.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "server-bridge.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "server-bridge.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "server-bridge.secretProviderClass" -}}
{{- default (include "server-bridge.name" .) .Values.secretProviderClass.name -}}
{{- end -}}

{{- define "server-bridge.selector" -}}
app.kubernetes.io/name: server-bridge
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "server-bridge.labels" -}}
{{ include "server-bridge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* 0 is a number of replicas too. */}}
{{- define "server-bridge.replicas" -}}
{{- if kindIs "invalid" .Values.replicas -}}
{{- ternary 2 1 (eq .Values.store "postgres") -}}
{{- else -}}
{{- int .Values.replicas -}}
{{- end -}}
{{- end -}}
