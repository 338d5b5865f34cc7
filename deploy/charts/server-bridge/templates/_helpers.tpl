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

{{/* Two stores must not speak for one source at once, and Helm makes the new workload before it removes the old one. What
runs is asked of the cluster; `helm template`, and so Argo CD, cannot ask. */}}
{{- define "server-bridge.alone" -}}
{{- $kind := ternary "StatefulSet" "Deployment" (eq .Values.store "postgres") -}}
{{- $name := include "server-bridge.name" . -}}
{{- $other := lookup "apps/v1" $kind .Release.Namespace $name -}}
{{- if and $other (eq (dig "metadata" "labels" "app.kubernetes.io/name" "" $other) "server-bridge") -}}
{{- $wanted := int (dig "spec" "replicas" 1 $other) -}}
{{- if or (gt $wanted 0) (gt (int (dig "status" "replicas" 0 $other)) 0) -}}
{{- fail (printf "store: %s, but %s `%s` with the other store still runs: upgrade with the store of before and `--set replicas=0` first, wait until its pod is gone, and copy what it holds (docs/DEPLOYING.md, Moving to the database)" .Values.store $kind $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
