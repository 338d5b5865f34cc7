{{/* The pod of either kind: what a store in a file and a shared one have in common, and what is one's own. */}}
{{- define "server-bridge.pod" -}}
{{- $shared := eq .Values.store "postgres" -}}
metadata:
  labels:
    {{- include "server-bridge.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .Values.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "server-bridge.serviceAccount" . }}
  # Neither the bridge nor its files need the Kubernetes API.
  automountServiceAccountToken: false
  # The bridge drains within its `--shutdown-grace` of 25 s; with others beside it, it first waits 5 s (preStop).
  terminationGracePeriodSeconds: {{ ternary 35 30 $shared }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- if $shared }}
  initContainers:
    # The tables as this version needs them, before it starts; pods that do it at once wait for each other. Older
    # replicas go on with them.
    - name: migrate
      {{- include "server-bridge.container" . | nindent 6 }}
      args:
        - store
        - migrate
        - --mount={{ .Values.mountPath }}
        {{- include "server-bridge.database" . | nindent 8 }}
        {{- range .Values.extraArgs }}
        {{- if hasPrefix "--db-" . }}
        - {{ . | quote }}
        {{- end }}
        {{- end }}
      volumeMounts: {{- include "server-bridge.mounts" . | nindent 8 }}
  {{- end }}
  containers:
    - name: server-bridge
      {{- include "server-bridge.container" . | nindent 6 }}
      args:
        - --mount={{ .Values.mountPath }}
        - --source-id={{ .Values.source }}
        - --client-id={{ .Values.clientId }}
        - --connections={{ .Values.connections }}
        {{- if $shared }}
        {{- include "server-bridge.database" . | nindent 8 }}
        - --db-notify={{ ternary "on" "off" .Values.database.notify }}
        - --slots={{ .Values.slots }}
        {{- else }}
        - --store=sqlite:/var/lib/server-bridge/server-bridge.db
        {{- end }}
        - --api-listen=0.0.0.0:8000
        {{- $name := include "server-bridge.name" . }}
        - --api-host={{ $name }}
        - --api-host={{ $name }}.{{ .Release.Namespace }}
        - --api-host={{ $name }}.{{ .Release.Namespace }}.svc
        - --api-host={{ $name }}.{{ .Release.Namespace }}.svc.cluster.local
        {{- range .Values.api.hosts }}
        - --api-host={{ . }}
        {{- end }}
        - --admin-listen=0.0.0.0:8083
        - --log-level={{ .Values.log.level }}
        - --log-format={{ .Values.log.format }}
        {{- if .Values.secretProviderClass.consumersSecret }}
        - --consumers={{ .Values.mountPath }}/consumers.yaml
        {{- end }}
        {{- if .Values.deleteUnknownWorks }}
        - --delete-unknown-works
        {{- end }}
        {{- range .Values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      ports:
        - {name: api, containerPort: 8000}
        - {name: admin, containerPort: 8083}
      # The process only: an outage of the broker or the database never restarts a pod that has started.
      livenessProbe:
        httpGet: {path: /livez, port: admin}
        periodSeconds: 10
      {{- if $shared }}
      # A pod is started once everything is well, also the broker's policy for its client id: a rollout waits for that.
      # Then it takes works whether the broker is there or not.
      startupProbe:
        httpGet: {path: /readyz, port: admin}
        periodSeconds: 5
        failureThreshold: 720
      {{- end }}
      readinessProbe:
        httpGet: {path: {{ include "server-bridge.ready" . | quote }}, port: admin}
        periodSeconds: 5
      {{- if and $shared (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) }}
      # Until no request comes here any more: the Service forgets a pod while it is being stopped.
      lifecycle:
        preStop:
          sleep: {seconds: 5}
      {{- end }}
      volumeMounts: {{- include "server-bridge.mounts" . | nindent 8 }}
  volumes:
    - name: secrets-store
      csi:
        driver: secrets-store.csi.k8s.io
        readOnly: true
        volumeAttributes:
          secretProviderClass: {{ include "server-bridge.secretProviderClass" . }}
    {{- if not $shared }}
    - name: temporary
      emptyDir: {sizeLimit: 1Gi}
    {{- else if .Values.database.caConfigMap }}
    - name: database-ca
      configMap: {name: {{ .Values.database.caConfigMap | quote }}}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if .Values.affinity }}
  affinity: {{- toYaml .Values.affinity | nindent 4 }}
  {{- else if $shared }}
  affinity:
    podAntiAffinity:
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: kubernetes.io/hostname
            labelSelector:
              matchLabels: {{- include "server-bridge.selector" . | nindent 16 }}
  {{- end }}
  {{- if .Values.topologySpreadConstraints }}
  topologySpreadConstraints: {{- toYaml .Values.topologySpreadConstraints | nindent 4 }}
  {{- else if $shared }}
  # A pod that cannot be spread runs all the same.
  topologySpreadConstraints:
    {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
    - maxSkew: 1
      topologyKey: {{ . }}
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "server-bridge.selector" $ | nindent 10 }}
      # Those of one version among themselves: a rollout ends as evenly as it began.
      matchLabelKeys: [pod-template-hash]
    {{- end }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
{{- end -}}

{{/* What every container of ours has. */}}
{{- define "server-bridge.container" -}}
image: "{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- with .Values.extraEnv }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
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
- --db-max-open-connections={{ .Values.database.maxOpenConnections }}
{{- with .Values.database.caConfigMap }}
- --db-rootcert=/etc/server-bridge/database-ca/{{ $.Values.database.caKey }}
{{- end }}
{{- with .Values.database.schema }}
- --db-schema={{ . }}
{{- end }}
{{- if .Values.database.iamAuth }}
- --db-iam-auth
{{- end }}
{{- end -}}

{{- define "server-bridge.mounts" -}}
- {name: secrets-store, mountPath: {{ .Values.mountPath | quote }}, readOnly: true}
{{- if eq .Values.store "sqlite" }}
- {name: data, mountPath: /var/lib/server-bridge}
# Where SQLite sorts what does not fit in memory.
- {name: temporary, mountPath: /tmp}
{{- else if .Values.database.caConfigMap }}
- {name: database-ca, mountPath: /etc/server-bridge/database-ca, readOnly: true}
{{- end }}
{{- end -}}
