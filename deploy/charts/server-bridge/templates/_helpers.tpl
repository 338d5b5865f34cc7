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
