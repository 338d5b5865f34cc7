{{/*
What both charts share. This file, and the others that `deploy/charts/generate` names, are edited in the agent's chart; the
server's copies are made of them.
*/}}

{{/* Name of every object: the release's, unless a value says otherwise. */}}
{{- define "server-bridge.name" -}}
{{- $name := .Release.Name -}}
{{- with .Values.nameOverride -}}
{{- if not (contains . $name) -}}
{{- $name = printf "%s-%s" $name . -}}
{{- end -}}
{{- end -}}
{{- default $name .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "server-bridge.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "server-bridge.name" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* Immutable once a workload was made: no value reaches it. */}}
{{- define "server-bridge.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "server-bridge.labels" -}}
{{ include "server-bridge.selector" . }}
app.kubernetes.io/version: {{ include "server-bridge.label" .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ include "server-bridge.label" (printf "%s-%s" .Chart.Name .Chart.Version) }}
{{- end -}}

{{/* A version as the value of a label, which has no `+` and 63 characters at most. */}}
{{- define "server-bridge.label" -}}
{{- . | replace "+" "_" | trunc 63 | trimAll "-_." -}}
{{- end -}}

{{/*
Metadata of an object: (list CONTEXT NAME) and, as a third element, what is its own: `labels`, `annotations`,
`cluster: true` for one without a namespace. What everybody has are `commonLabels` and `commonAnnotations`.
*/}}
{{- define "server-bridge.metadata" -}}
{{- $root := index . 0 -}}
{{- $own := dict -}}
{{- if gt (len .) 2 -}}
{{- $own = index . 2 -}}
{{- end -}}
name: {{ index . 1 }}
{{- if not $own.cluster }}
namespace: {{ $root.Release.Namespace }}
{{- end }}
{{ include "server-bridge.marks" (list $root (default (dict) $own.labels) (default (dict) $own.annotations)) }}
{{- end -}}

{{/* Labels and annotations: (list CONTEXT LABELS ANNOTATIONS). What is one's own goes before what everybody has. */}}
{{- define "server-bridge.marks" -}}
{{- $root := index . 0 -}}
{{- $labels := merge (dict) (index . 1) (fromYaml (include "server-bridge.labels" $root)) $root.Values.commonLabels -}}
{{- $annotations := merge (dict) (index . 2) $root.Values.commonAnnotations -}}
labels: {{- toYaml $labels | nindent 2 }}
{{- with $annotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Reference of an image: (list CONTEXT IMAGE). A digest says more than a tag. */}}
{{- define "server-bridge.image" -}}
{{- $root := index . 0 -}}
{{- $image := index . 1 -}}
{{- with default $image.registry (default (dict) $root.Values.global).imageRegistry -}}
{{- trimSuffix "/" . }}/
{{- end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
@{{ $image.digest }}
{{- else -}}
:{{ default (replace "+" "_" $root.Chart.AppVersion) $image.tag }}
{{- end -}}
{{- end -}}

{{/* What decides about a pod besides its containers; `replicas` of `server-bridge.placement` is what it is spread for. */}}
{{- define "server-bridge.pod" -}}
{{- $names := list -}}
{{- range concat (default (list) (default (dict) .Values.global).imagePullSecrets) .Values.image.pullSecrets -}}
{{- $names = append $names (kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name")) -}}
{{- end -}}
{{- with uniq $names }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . | quote }}
  {{- end }}
{{- end }}
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . | quote }}
{{- end }}
{{- with .Values.hostAliases }}
hostAliases: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with .Values.dnsConfig }}
dnsConfig: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Where replicas go: (list CONTEXT SPREAD). A pod that cannot be spread runs all the same. */}}
{{- define "server-bridge.placement" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.affinity }}
affinity: {{- tpl (toYaml $root.Values.affinity) $root | nindent 2 }}
{{- else if index . 1 }}
affinity:
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels: {{- include "server-bridge.selector" $root | nindent 14 }}
{{- end }}
{{- if $root.Values.topologySpreadConstraints }}
topologySpreadConstraints: {{- tpl (toYaml $root.Values.topologySpreadConstraints) $root | nindent 2 }}
{{- else if index . 1 }}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "server-bridge.selector" $root | nindent 8 }}
    # Those of one version among themselves: a rollout ends as evenly as it began.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}
{{- end -}}

{{/* Where certificate, key, CA and configuration come from, as a volume. */}}
{{- define "server-bridge.secretsVolume" -}}
- name: secrets-store
  {{- if eq .Values.secrets.provider "csi" }}
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes:
      secretProviderClass: {{ include "server-bridge.secretProviderClass" . }}
  {{- else }}
  secret:
    secretName: {{ ternary .Values.secrets.existing (include "server-bridge.secret" .) (eq .Values.secrets.provider "existing") }}
    defaultMode: 288 # 0440
  {{- end }}
{{- end -}}

{{- define "server-bridge.secretsMount" -}}
- {name: secrets-store, mountPath: {{ .Values.mountPath | quote }}, readOnly: true}
{{- end -}}

{{- define "server-bridge.secretProviderClass" -}}
{{- default (include "server-bridge.name" .) .Values.secrets.csi.name -}}
{{- end -}}

{{/* The Secret that External Secrets makes. */}}
{{- define "server-bridge.secret" -}}
{{ include "server-bridge.name" . }}-identity
{{- end -}}

{{- define "server-bridge.region" -}}
{{- $region := default (default (dict) .Values.global).aws_region (tpl .Values.secrets.region .) -}}
{{- required "secrets.region is needed, e.g. `secrets.region: eu-west-1`, or `global.aws_region` for all charts" $region -}}
{{- end -}}

{{/* Combinations of values that cannot be meant; what a single value may be, values.schema.json says. */}}
{{- define "server-bridge.validateCommon" -}}
{{- $secrets := .Values.secrets -}}
{{- if and (eq $secrets.provider "existing") (not $secrets.existing) -}}
{{- fail "secrets.provider is `existing`, but secrets.existing is empty: name the Secret whose keys are the file names, or choose `csi` or `external`" -}}
{{- end -}}
{{- if and $secrets.existing (ne $secrets.provider "existing") -}}
{{- fail (printf "secrets.existing is `%s`, but secrets.provider is `%s`: set `secrets.provider: existing` to mount that Secret, or leave secrets.existing empty" $secrets.existing $secrets.provider) -}}
{{- end -}}
{{- if and $secrets.external.store.create (ne $secrets.provider "external") -}}
{{- fail (printf "secrets.external.store.create is true, but secrets.provider is `%s`: set `secrets.provider: external`, or leave the store out" $secrets.provider) -}}
{{- end -}}
{{- if and (eq $secrets.provider "csi") (not $secrets.csi.create) (not $secrets.csi.name) -}}
{{- fail "secrets.csi.create is false, but secrets.csi.name is empty: name the SecretProviderClass that is there already" -}}
{{- end -}}
{{- range $from, $labels := dict "commonLabels" .Values.commonLabels "podLabels" .Values.podLabels -}}
{{- range $label, $_ := $labels -}}
{{- if has $label (list "app.kubernetes.io/name" "app.kubernetes.io/instance") -}}
{{- fail (printf "%s has `%s`, which the selectors of workload and Services use and nobody may change: take it out" $from $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service) -}}
{{- fail "metrics.serviceMonitor.enabled is true, but metrics.service is false: a ServiceMonitor needs the Service; set `metrics.service: true`, or take metrics.podMonitor" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- fail "metrics.serviceMonitor.enabled and metrics.podMonitor.enabled are both true, which counts everything twice: keep one" -}}
{{- end -}}
{{- if and .Values.networkPolicy.egress.create (not .Values.networkPolicy.create) -}}
{{- fail "networkPolicy.egress.create is true, but networkPolicy.create is false: set `networkPolicy.create: true`" -}}
{{- end -}}
{{- end -}}

{{/*
The pod of `probe check`: with the workload's identity, from where the workload runs. Without a client id that nobody uses
it ends after the TLS handshake: the policy allows the workload's ids, and a connection with one of them throws the workload
out.
*/}}
{{- define "server-bridge.checkPod" -}}
{{- $id := tpl .Values.check.clientId . -}}
{{- /* Whoever mirrored the workload's image has the probe's beside it. */ -}}
{{- $image := merge (dict "registry" (default .Values.image.registry .Values.check.image.registry)) .Values.check.image -}}
restartPolicy: Never
serviceAccountName: {{ include "server-bridge.serviceAccount" . }}
automountServiceAccountToken: false
{{- include "server-bridge.pod" . }}
containers:
  - name: check
    image: {{ include "server-bridge.image" (list . $image) | quote }}
    imagePullPolicy: {{ .Values.check.image.pullPolicy }}
    args:
      - check
      - {{ printf "--identity=%s" .Values.mountPath | quote }}
      {{- if $id }}
      - {{ printf "--id=%s" $id | quote }}
      {{- include "server-bridge.checkTopics" . | trim | nindent 6 }}
      {{- else }}
      - --until=tls
      {{- end }}
      {{- range .Values.check.args }}
      - {{ . | quote }}
      {{- end }}
    {{- with .Values.extraEnv }}
    env: {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- with .Values.extraEnvFrom }}
    envFrom: {{- toYaml . | nindent 6 }}
    {{- end }}
    securityContext: {{- toYaml .Values.securityContext | nindent 6 }}
    resources: {{- toYaml .Values.check.resources | nindent 6 }}
    volumeMounts: {{- include "server-bridge.secretsMount" . | nindent 6 }}
volumes: {{- include "server-bridge.secretsVolume" . | nindent 2 }}
{{- end -}}

{{/* What to look at when the pod does not start, for NOTES.txt. */}}
{{- define "server-bridge.secretsNotes" -}}
{{- $in := printf "-n %s" .Release.Namespace -}}
{{- if eq .Values.secrets.provider "csi" -}}
The CSI driver mounts certificate and configuration. A pod that stays in ContainerCreating waits for it:
  kubectl {{ $in }} describe pod -l app.kubernetes.io/instance={{ .Release.Name }}
  kubectl {{ $in }} get secretproviderclass {{ include "server-bridge.secretProviderClass" . }} -o yaml
{{- if and .Values.secrets.csi.create .Values.secrets.csi.usePodIdentity }}
The role is that of the Pod Identity association for service account {{ include "server-bridge.serviceAccount" . }} in namespace {{ .Release.Namespace }}.
{{- end }}
{{- else if eq .Values.secrets.provider "external" -}}
External Secrets makes the Secret {{ include "server-bridge.secret" . }}, which the pod waits for. Whether and why not:
  kubectl {{ $in }} get externalsecret {{ include "server-bridge.secret" . }}
  kubectl {{ $in }} describe externalsecret {{ include "server-bridge.secret" . }}
  kubectl {{ ternary "" (printf "%s " $in) (eq .Values.secrets.external.store.kind "ClusterSecretStore") }}get {{ lower .Values.secrets.external.store.kind }} {{ .Values.secrets.external.store.name }}
{{- else -}}
The pod waits for the Secret {{ .Values.secrets.existing }} and mounts its keys as files{{ range fromYamlArray (include "server-bridge.files" .) }}{{ range .files }} {{ last . }}{{ end }}{{ end }}:
  kubectl {{ $in }} describe secret {{ .Values.secrets.existing }}
{{- end }}

Whether the broker takes the identity:
  helm test {{ .Release.Name }} {{ $in }} --logs
{{- if .Values.check.enabled }}
  kubectl {{ $in }} logs -l app.kubernetes.io/name={{ .Chart.Name }}-check,app.kubernetes.io/instance={{ .Release.Name }}
{{- end }}
{{- end -}}
