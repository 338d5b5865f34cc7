{{/* The pod of either kind: what a store in a file and a shared one have in common, and what is one's own. */}}
{{- define "server-bridge.template" -}}
{{- $shared := eq .Values.store "postgres" -}}
{{- $grace := int (default (ternary 35 30 $shared) .Values.terminationGracePeriodSeconds) -}}
metadata: {{- include "server-bridge.marks" (list . .Values.podLabels .Values.podAnnotations) | nindent 2 }}
spec:
  serviceAccountName: {{ include "server-bridge.serviceAccount" . }}
  # Whoever needs the Kubernetes API has a token of its own.
  automountServiceAccountToken: {{ .Values.serviceAccount.automount }}
  terminationGracePeriodSeconds: {{ $grace }}
  {{- include "server-bridge.pod" . | trim | nindent 2 }}
  {{- if or $shared .Values.initContainers }}
  initContainers:
    {{- with .Values.initContainers }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
    {{- if $shared }}
    # The tables as this version needs them, before it starts; pods that do it at once wait for each other. Older
    # replicas go on with them.
    - name: migrate
      {{- include "server-bridge.container" . | nindent 6 }}
      args:
        - store
        - migrate
        - {{ printf "--mount=%s" .Values.mountPath | quote }}
        {{- include "server-bridge.database" . | nindent 8 }}
        {{- range .Values.extraArgs }}
        {{- if hasPrefix "--db-" . }}
        - {{ . | quote }}
        {{- end }}
        {{- end }}
      volumeMounts: {{- include "server-bridge.mounts" . | nindent 8 }}
    {{- end }}
  {{- end }}
  containers:
    - name: server-bridge
      {{- include "server-bridge.container" . | nindent 6 }}
      args:
        - {{ printf "--mount=%s" .Values.mountPath | quote }}
        - {{ printf "--source-id=%s" (include "server-bridge.source" .) | quote }}
        - {{ printf "--client-id=%s" (include "server-bridge.clientId" .) | quote }}
        - {{ printf "--connections=%d" (int64 .Values.connections) | quote }}
        {{- if $shared }}
        {{- include "server-bridge.database" . | nindent 8 }}
        - {{ printf "--db-notify=%s" (ternary "on" "off" .Values.database.notify) | quote }}
        - {{ printf "--slots=%d" (int64 .Values.slots) | quote }}
        {{- else }}
        - --store=sqlite:/var/lib/server-bridge/server-bridge.db
        {{- end }}
        - --api-listen=0.0.0.0:8000
        {{- if .Values.ui.enabled }}
        - --ui
        {{- end }}
        {{- if .Values.grpc.enabled }}
        - --grpc-listen=0.0.0.0:8090
        {{- with .Values.grpc.maxConnectionAge }}
        - {{ printf "--grpc-max-connection-age=%s" . | quote }}
        {{- end }}
        {{- if .Values.grpc.reflection }}
        - --grpc-reflection
        {{- end }}
        {{- else }}
        - --enable-grpc-server=false
        {{- end }}
        {{- with include "server-bridge.callersArgs" . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- $name := include "server-bridge.name" . }}
        - {{ printf "--api-host=%s" $name | quote }}
        - {{ printf "--api-host=%s.%s" $name .Release.Namespace | quote }}
        - {{ printf "--api-host=%s.%s.svc" $name .Release.Namespace | quote }}
        - {{ printf "--api-host=%s.%s.svc.cluster.local" $name .Release.Namespace | quote }}
        {{- range .Values.api.hosts }}
        - {{ printf "--api-host=%s" . | quote }}
        {{- end }}
        - --admin-listen=0.0.0.0:8083
        - {{ printf "--log-level=%s" .Values.log.level | quote }}
        - {{ printf "--log-format=%s" .Values.log.format | quote }}
        # Before the pod is killed{{ if $shared }}, after the pause of preStop{{ end }}.
        - {{ printf "--shutdown-grace=%ds" (sub $grace (ternary 10 5 $shared)) | quote }}
        {{- if .Values.secrets.consumers }}
        - {{ printf "--consumers=%s/consumers.yaml" .Values.mountPath | quote }}
        {{- end }}
        {{- if .Values.lifecycleEvents }}
        - --lifecycle-events
        {{- end }}
        {{- if .Values.deleteUnknownWorks }}
        - --delete-unknown-works
        {{- end }}
        {{- range .Values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      ports:
        - {name: api, containerPort: 8000}
        {{- if .Values.grpc.enabled }}
        - {name: grpc, containerPort: 8090}
        {{- end }}
        - {name: admin, containerPort: 8083}
      # The process only: an outage of the broker or the database never restarts a pod that has started.
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      {{- if $shared }}
      # A pod is started once everything is well, also the broker's policy for its client id: a rollout waits for that.
      # Then it takes works whether the broker is there or not.
      startupProbe:
        httpGet: {path: /readyz, port: admin}
        {{- toYaml .Values.startupProbe | nindent 8 }}
      {{- end }}
      readinessProbe:
        httpGet: {path: {{ include "server-bridge.ready" . | quote }}, port: admin}
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      {{- if and $shared (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) }}
      # Until no request comes here any more: the Service forgets a pod while it is being stopped.
      lifecycle:
        preStop:
          sleep: {seconds: 5}
      {{- end }}
      volumeMounts: {{- include "server-bridge.mounts" . | nindent 8 }}
        {{- with include "server-bridge.callersMounts" . | trim }}
        {{- . | nindent 8 }}
        {{- end }}
    {{- with .Values.sidecars }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  volumes:
    {{- include "server-bridge.secretsVolume" . | nindent 4 }}
    {{- with include "server-bridge.callersVolumes" . | trim }}
    {{- . | nindent 4 }}
    {{- end }}
    {{- if not $shared }}
    {{- with .Values.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim: {claimName: {{ . | quote }}}
    {{- end }}
    - name: temporary
      emptyDir: {sizeLimit: 1Gi}
    {{- else if .Values.database.caConfigMap }}
    - name: database-ca
      configMap: {name: {{ .Values.database.caConfigMap | quote }}}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- tpl (toYaml .) $ | nindent 4 }}
    {{- end }}
  {{- with include "server-bridge.placement" (list . $shared) | trim }}
  {{- . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What every container of ours has. */}}
{{- define "server-bridge.container" -}}
image: {{ include "server-bridge.image" (list . .Values.image) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.extraEnv }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.extraEnvFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml .Values.securityContext | nindent 2 }}
resources: {{- toYaml .Values.resources | nindent 2 }}
{{- end -}}

{{/* Which checks count: among replicas all but those of the sessions with the broker. */}}
{{- define "server-bridge.ready" -}}
/readyz
{{- if eq .Values.store "postgres" -}}
?exclude=broker
{{- range $index := untilStep 1 (int .Values.connections) 1 -}}
&exclude=broker-{{ $index }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* How to reach the shared database. */}}
{{- define "server-bridge.database" -}}
- --store=postgres
- {{ printf "--db-max-open-connections=%d" (int64 .Values.database.maxOpenConnections) | quote }}
{{- with .Values.database.caConfigMap }}
- {{ printf "--db-rootcert=/etc/server-bridge/database-ca/%s" $.Values.database.caKey | quote }}
{{- end }}
{{- with .Values.database.schema }}
- {{ printf "--db-schema=%s" . | quote }}
{{- end }}
{{- if .Values.database.iamAuth }}
- --db-iam-auth
{{- end }}
{{- end -}}

{{- define "server-bridge.mounts" -}}
{{- include "server-bridge.secretsMount" . }}
{{- if eq .Values.store "sqlite" }}
- {name: data, mountPath: /var/lib/server-bridge}
# Where SQLite sorts what does not fit in memory.
- {name: temporary, mountPath: /tmp}
{{- else if .Values.database.caConfigMap }}
- {name: database-ca, mountPath: /etc/server-bridge/database-ca, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
