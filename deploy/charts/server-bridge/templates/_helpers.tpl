{{/* 0 is a number of replicas too. */}}
{{- define "server-bridge.replicas" -}}
{{- if kindIs "invalid" .Values.replicas -}}
{{- ternary 2 1 (eq .Values.store "postgres") -}}
{{- else -}}
{{- int .Values.replicas -}}
{{- end -}}
{{- end -}}

{{/* Two bridges of a release must not speak for one source at once, and Helm makes the new workload before it removes the
old one: one with the other store, or one of another name, whose volume would be a new one besides. What runs is asked of the
cluster; `helm template`, and so Argo CD, cannot ask. */}}
{{- define "server-bridge.alone" -}}
{{- $own := ternary "Deployment" "StatefulSet" (eq .Values.store "postgres") -}}
{{- $name := include "server-bridge.name" . -}}
{{- range $kind := list "Deployment" "StatefulSet" -}}
{{- range $other := dig "items" (list) (lookup "apps/v1" $kind $.Release.Namespace "") -}}
{{- $labels := default (dict) $other.metadata.labels -}}
{{- $called := $other.metadata.name -}}
{{- $ours := and (eq (get $labels "app.kubernetes.io/name") $.Chart.Name) (or (eq $called $name) (eq (get $labels "app.kubernetes.io/instance") $.Release.Name)) -}}
{{- $runs := or (gt (int (dig "spec" "replicas" 1 $other)) 0) (gt (int (dig "status" "replicas" 0 $other)) 0) -}}
{{- if and $ours $runs (ne $called $name) -}}
{{- fail (printf "the objects are to be called `%s`, but %s `%s` of this release still runs, and two bridges would speak for one source: set fullnameOverride to `%s`" $name $kind $called $called) -}}
{{- else if and $ours $runs (ne $kind $own) -}}
{{- fail (printf "store: %s, but %s `%s` with the other store still runs: upgrade with the store of before and `--set replicas=0` first, wait until its pod is gone, and copy what it holds (docs/DEPLOYING.md, Moving to the database)" $.Values.store $kind $called) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What the bridge is called, and what it is a source of, as the certificate's policy has it. */}}
{{- define "server-bridge.source" -}}
{{- include "server-bridge.topicName" (list . "source" .Values.source 256) -}}
{{- end -}}

{{- define "server-bridge.clientId" -}}
{{- include "server-bridge.topicName" (list . "clientId" .Values.clientId 128) -}}
{{- end -}}

{{- define "server-bridge.topicName" -}}
{{- $name := tpl (index . 2) (index . 0) -}}
{{- if not (regexMatch (printf "^[^/+#\\x00-\\x1f\\x7f]{1,%d}$" (index . 3)) $name) -}}
{{- fail (printf "%s is `%s`: one to %d characters are needed, without `/`, `+`, `#` and control characters" (index . 1) $name (index . 3)) -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* Secrets and which of their properties becomes which file. */}}
{{- define "server-bridge.files" -}}
{{- $secrets := .Values.secrets -}}
- secret: {{ tpl $secrets.certificate . | quote }}
  files: [[certificate, certificate], [privateKey, privateKey], [caCert, ca.crt]]
- secret: {{ tpl $secrets.config . | quote }}
  files: [[config, config.yaml]]
{{- if eq .Values.store "postgres" }}
- secret: {{ tpl $secrets.database . | quote }}
  files:
    - [{{ $secrets.databaseUserKey }}, db.user]
    {{- if not .Values.database.iamAuth }}
    - [password, db.password]
    {{- end }}
    - [host, db.host]
    - [port, db.port]
    - [database, db.name]
{{- end }}
{{- with tpl $secrets.consumers . }}
- secret: {{ . | quote }}
  files: [[consumers, consumers.yaml]]
{{- end }}
{{- end -}}

{{- define "server-bridge.ingress" -}}
- from: {{- toYaml .Values.networkPolicy.apiFrom | nindent 4 }}
  ports:
    - {port: api}
{{- if .Values.grpc.enabled }}
- from: {{- toYaml (default .Values.networkPolicy.apiFrom .Values.networkPolicy.grpcFrom) | nindent 4 }}
  ports:
    - {port: grpc}
{{- end }}
{{- end -}}

{{- define "server-bridge.egress" -}}
{{- include "server-bridge.egressRules" . | trim -}}
{{- end -}}

{{- define "server-bridge.egressRules" -}}
{{- if include "server-bridge.asksKubernetes" . }}
# The Kubernetes API, for reviews of callers.
- {{ with .Values.networkPolicy.egress.apiServerTo }}to: {{- toYaml . | nindent 4 }}
  {{ end }}ports:
    {{- range .Values.networkPolicy.egress.apiServerPorts }}
    - {port: {{ int64 . }}}
    {{- end }}
{{- end }}
{{- if and .Values.callers.issuer.url (not .Values.callers.issuer.jwksConfigMap) }}
# Keys of the issuer of callers' tokens.
- {{ with .Values.networkPolicy.egress.issuerTo }}to: {{- toYaml . | nindent 4 }}
  {{ end }}ports:
    - {port: 443}
{{- end }}
{{- if eq .Values.store "postgres" }}
# The database.
- {{ with .Values.networkPolicy.egress.databaseTo }}to: {{- toYaml . | nindent 4 }}
  {{ end }}ports:
    {{- range .Values.networkPolicy.egress.databasePorts }}
    - {port: {{ int64 . }}}
    {{- end }}
{{- if and .Values.database.iamAuth (include "server-bridge.webIdentity" .) }}
# STS, for the role that the bridge signs in with.
- {{ with .Values.networkPolicy.egress.stsTo }}to: {{- toYaml . | nindent 4 }}
  {{ end }}ports:
    - {port: 443}
{{- else if .Values.database.iamAuth }}
# EKS Pod Identity, for the tokens that the bridge signs in with.
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  ports:
    - {port: 80}
{{- end }}
{{- end -}}
{{- end -}}

{{/* Whether the service account's role is one of IAM roles for service accounts, which STS gives; nothing otherwise. */}}
{{- define "server-bridge.webIdentity" -}}
{{- if or (not .Values.secrets.csi.usePodIdentity) (hasKey .Values.serviceAccount.annotations "eks.amazonaws.com/role-arn") -}}
yes
{{- end -}}
{{- end -}}

{{/* What a check with a client id of its own tries besides: nothing of a bridge's topics comes back to it. */}}
{{- define "server-bridge.checkTopics" }}
- --until=connect
{{- end -}}

{{- define "server-bridge.validate" -}}
{{- include "server-bridge.validateCommon" . -}}
{{- include "server-bridge.validateCallers" . -}}
{{- $replicas := include "server-bridge.replicas" . | int -}}
{{- if eq .Values.store "postgres" -}}
{{- if and .Values.deleteUnknownWorks (not .Values.confirmDeleteUnknownWorks) -}}
{{- fail "deleteUnknownWorks with store: postgres empties every cluster when the database is new, older or another one: set confirmDeleteUnknownWorks: true as well if that is meant, and not before works were copied into it" -}}
{{- end -}}
{{- if le (int .Values.slots) $replicas -}}
{{- fail (printf "slots is %d, which leaves none for the pod that a rollout starts beside %d replicas: raise slots, and have the policy name them (server.slots of the provisioner)" (int .Values.slots) $replicas) -}}
{{- end -}}
{{- if .Values.persistence.existingClaim -}}
{{- fail (printf "persistence.existingClaim is `%s`, but store is `postgres`, which mounts no volume: leave it empty" .Values.persistence.existingClaim) -}}
{{- end -}}
{{- if and (ne .Values.secrets.provider "existing") (not .Values.secrets.database) -}}
{{- fail "secrets.database is empty, but store is `postgres`: name the secret with the database's credentials" -}}
{{- end -}}
{{- else -}}
{{- if gt $replicas 1 -}}
{{- fail (printf "replicas is %d, but store is `sqlite`, which has one writer: set `store: postgres`, or `replicas: 1`" $replicas) -}}
{{- end -}}
{{- if .Values.database.iamAuth -}}
{{- fail "database.iamAuth is true, but store is `sqlite`, which has no database to sign in to: set `store: postgres`" -}}
{{- end -}}
{{- end -}}
{{- $id := tpl .Values.check.clientId . -}}
{{- /* With a slot, a connection or both after it. */ -}}
{{- $used := printf "^%s(-[0-9]+)*$" (regexQuoteMeta (include "server-bridge.clientId" .)) -}}
{{- if and $id (regexMatch $used $id) (gt $replicas 0) -}}
{{- fail (printf "check.clientId is `%s`, a running bridge's, and the broker would throw the running bridge out: set `replicas: 0` with it, or leave it empty" $id) -}}
{{- end -}}
{{- end -}}
