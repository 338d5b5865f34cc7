{{- define "agent.replicas" -}}
{{- int .Values.replicas -}}
{{- end -}}

{{/* What the management cluster is called; empty where the mounted file says it. */}}
{{- define "agent.consumer" -}}
{{- $name := tpl .Values.consumerName . -}}
{{- if not (regexMatch "^$|^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" $name) -}}
{{- fail (printf "consumerName is `%s`: write lower case letters, digits and hyphens, 63 at most, as the regional cluster knows it" $name) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Secrets and which of their properties becomes which file. */}}
{{- define "agent.files" -}}
- secret: {{ tpl .Values.secrets.certificate . | quote }}
  files: [[certificate, certificate], [privateKey, privateKey], [caCert, ca.crt]]
- secret: {{ tpl .Values.secrets.config . | quote }}
  files: [[config, config.yaml], [consumerName, consumerName]]
{{- end -}}

{{/* Nobody calls an agent but whoever reads its metrics. */}}
{{- define "agent.ingress" -}}
{{- end -}}

{{- define "agent.egress" -}}
# The API server.
- {{ with .Values.networkPolicy.egress.apiServerTo }}to: {{- toYaml . | nindent 4 }}
  {{ end }}ports:
    {{- range .Values.networkPolicy.egress.apiServerPorts }}
    - {port: {{ int64 . }}}
    {{- end }}
{{- end -}}

{{/* What a check with a client id of its own tries besides. */}}
{{- define "agent.checkTopics" -}}
{{- with include "agent.consumer" . }}
- {{ printf "--consumer=%s" . | quote }}
{{- else }}
- --until=connect
{{- end }}
{{- end -}}

{{- define "agent.validate" -}}
{{- include "agent.validateCommon" . -}}
{{- $id := tpl .Values.check.clientId . -}}
{{- if and (hasSuffix "-work-agent-client" $id) (gt (int .Values.replicas) 0) -}}
{{- fail (printf "check.clientId is `%s`, an agent's, and the broker would throw the running agent out: set `replicas: 0` with it, or leave it empty" $id) -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.automount) (not .Values.extraVolumeMounts) -}}
{{- fail "serviceAccount.automount is false, and the agent needs a token for the API server: leave it true, or mount one with extraVolumes and extraVolumeMounts" -}}
{{- end -}}
{{- end -}}
