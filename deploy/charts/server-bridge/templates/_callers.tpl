{{/* How callers are known and what they may do. */}}

{{/* Whether there is a way to know them but reviews by the Kubernetes API; nothing otherwise. */}}
{{- define "server-bridge.knownOtherwise" -}}
{{- with .Values.callers -}}
{{- if or .issuer.url .clientCa.secret .clientCa.configMap -}}
yes
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether tokens are reviewed by the Kubernetes API; nothing otherwise. */}}
{{- define "server-bridge.reviews" -}}
{{- $reviews := .Values.callers.tokenReview -}}
{{- if kindIs "invalid" $reviews -}}
{{- $reviews = not (or .Values.callers.insecure (include "server-bridge.knownOtherwise" .)) -}}
{{- end -}}
{{- if $reviews -}}
yes
{{- end -}}
{{- end -}}

{{/* Who says what callers may do; nothing where they are not asked who they are. */}}
{{- define "server-bridge.authorization" -}}
{{- with .Values.callers -}}
{{- if not .insecure -}}
{{- default (ternary "rules" "kubernetes" (or (gt (len .authorization.rules) 0) (ne .authorization.configMap ""))) .authorization.by -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether the Kubernetes API is asked; nothing otherwise. */}}
{{- define "server-bridge.asksKubernetes" -}}
{{- if or (include "server-bridge.reviews" .) (eq (include "server-bridge.authorization" .) "kubernetes") -}}
yes
{{- end -}}
{{- end -}}

{{/* ConfigMap with the rules. */}}
{{- define "server-bridge.rules" -}}
{{- default (printf "%s-callers" (include "server-bridge.name" .)) .Values.callers.authorization.configMap -}}
{{- end -}}

{{/* How REST and gRPC are reached: `http` or `https`, with a TLS of their own or that of both. */}}
{{- define "server-bridge.scheme" -}}
{{- ternary "https" "http" (ne .Values.callers.tls.secret "") -}}
{{- end -}}

{{- define "server-bridge.grpcProtocol" -}}
{{- with .Values.callers.tls -}}
{{- ternary "https" "kubernetes.io/h2c" (or (ne .secret "") (ne .grpcSecret "")) -}}
{{- end -}}
{{- end -}}

{{- define "server-bridge.callersArgs" -}}
{{- $callers := .Values.callers -}}
{{- if $callers.insecure }}
- --insecure-callers
{{- end }}
{{- with $callers.tls }}
{{- if .secret }}
- --https-cert-file=/etc/server-bridge/tls/tls.crt
- --https-key-file=/etc/server-bridge/tls/tls.key
{{- end }}
{{- if and .grpcSecret $.Values.grpc.enabled }}
- --grpc-tls-cert-file=/etc/server-bridge/grpc-tls/tls.crt
- --grpc-tls-key-file=/etc/server-bridge/grpc-tls/tls.key
{{- end }}
{{- end }}
{{- with $callers.clientCa }}
{{- if or .secret .configMap }}
- {{ printf "--client-ca-file=/etc/server-bridge/client-ca/%s" .key | quote }}
{{- end }}
{{- end }}
{{- with $callers.issuer }}
{{- if .url }}
- {{ printf "--token-issuer=%s" .url | quote }}
{{- with .jwksUrl }}
- {{ printf "--token-jwks-url=%s" . | quote }}
{{- end }}
{{- if .jwksConfigMap }}
- {{ printf "--token-jwks-file=/etc/server-bridge/issuer-keys/%s" .jwksKey | quote }}
{{- end }}
{{- if .caConfigMap }}
- {{ printf "--token-ca-file=/etc/server-bridge/issuer-ca/%s" .caKey | quote }}
{{- end }}
{{- with .userClaim }}
- {{ printf "--token-user-claim=%s" . | quote }}
{{- end }}
{{- with .groupsClaim }}
- {{ printf "--token-groups-claim=%s" . | quote }}
{{- end }}
{{- with .prefix }}
- {{ printf "--token-prefix=%s" . | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if include "server-bridge.reviews" . }}
- --token-review
{{- end }}
{{- if or $callers.issuer.url (include "server-bridge.reviews" .) }}
{{- range $callers.audiences }}
- {{ printf "--token-audience=%s" . | quote }}
{{- end }}
{{- end }}
{{- $authorization := include "server-bridge.authorization" . }}
{{- if eq $authorization "kubernetes" }}
- --authorizer=sar
{{- else if eq $authorization "rules" }}
- {{ printf "--authorization-file=/etc/server-bridge/authorization/%s" (include "server-bridge.rulesKey" .) | quote }}
{{- end }}
{{- end -}}

{{- define "server-bridge.rulesKey" -}}
{{- with .Values.callers.authorization -}}
{{- ternary .key "rules.yaml" (ne .configMap "") -}}
{{- end -}}
{{- end -}}

{{/* Files by name of their volume: `secret` or `configMap` that holds them. */}}
{{- define "server-bridge.callersFiles" -}}
{{- with .Values.callers -}}
{{- with .tls.secret }}
tls: {secret: {{ . }}}
{{- end }}
{{- if and .tls.grpcSecret $.Values.grpc.enabled }}
grpc-tls: {secret: {{ .tls.grpcSecret }}}
{{- end }}
{{- with .clientCa.secret }}
client-ca: {secret: {{ . }}}
{{- end }}
{{- with .clientCa.configMap }}
client-ca: {configMap: {{ . }}}
{{- end }}
{{- with .issuer.jwksConfigMap }}
issuer-keys: {configMap: {{ . }}}
{{- end }}
{{- with .issuer.caConfigMap }}
issuer-ca: {configMap: {{ . }}}
{{- end }}
{{- end }}
{{- if eq (include "server-bridge.authorization" .) "rules" }}
authorization: {configMap: {{ include "server-bridge.rules" . }}}
{{- end }}
{{- end -}}

{{- define "server-bridge.callersVolumes" -}}
{{- range $name, $from := fromYaml (include "server-bridge.callersFiles" .) }}
- name: {{ $name }}
  {{- with $from.secret }}
  secret:
    secretName: {{ . | quote }}
    {{- if ne $name "client-ca" }}
    # Nothing else of it, such as an authority's key.
    items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
    {{- else }}
    items: [{key: {{ $.Values.callers.clientCa.key | quote }}, path: {{ $.Values.callers.clientCa.key | quote }}}]
    {{- end }}
    defaultMode: 288 # 0440
  {{- else }}
  configMap: {name: {{ $from.configMap | quote }}}
  {{- end }}
{{- end }}
{{- if include "server-bridge.asksKubernetes" . }}
# A token of the Kubernetes API, for the bridge's container alone.
- name: kubernetes
  projected:
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3607}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}
{{- end }}
{{- end -}}

{{- define "server-bridge.callersMounts" -}}
{{- range $name, $_ := fromYaml (include "server-bridge.callersFiles" .) }}
- {name: {{ $name }}, mountPath: /etc/server-bridge/{{ $name }}, readOnly: true}
{{- end }}
{{- if include "server-bridge.asksKubernetes" . }}
- {name: kubernetes, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- end }}
{{- end -}}

{{- define "server-bridge.validateCallers" -}}
{{- $callers := .Values.callers -}}
{{- $ca := or $callers.clientCa.secret $callers.clientCa.configMap -}}
{{- if and $callers.insecure (or $callers.tokenReview (include "server-bridge.knownOtherwise" .)) -}}
{{- fail "callers.insecure is true, but a way to know callers is given too: set `callers.insecure: false`, or take callers.tokenReview, callers.issuer.url and callers.clientCa out" -}}
{{- end -}}
{{- if and $callers.insecure (or $callers.authorization.by $callers.authorization.rules $callers.authorization.configMap) -}}
{{- fail "callers.insecure is true, but callers.authorization says what callers may do, and nobody is asked who they are: set `callers.insecure: false`, or take callers.authorization out" -}}
{{- end -}}
{{- if not (or $callers.insecure (include "server-bridge.reviews" .) (include "server-bridge.knownOtherwise" .)) -}}
{{- fail "callers.tokenReview is false, and there is no other way to know callers: give callers.issuer.url or callers.clientCa, or, where something else keeps strangers away, `callers.insecure: true`" -}}
{{- end -}}
{{- if and $callers.clientCa.secret $callers.clientCa.configMap -}}
{{- fail "callers.clientCa.secret and callers.clientCa.configMap are both given: keep one" -}}
{{- end -}}
{{- if and $ca (not $callers.tls.secret) -}}
{{- fail "callers.clientCa is given, but callers.tls.secret is empty, and client certificates come with TLS: name the Secret with the server's certificate" -}}
{{- end -}}
{{- if and $callers.issuer.url (not $callers.audiences) -}}
{{- fail "callers.issuer.url is given, but callers.audiences is empty: say what its tokens must be for" -}}
{{- end -}}
{{- with $callers.issuer -}}
{{- if and (not .url) (or .jwksUrl .jwksConfigMap .caConfigMap .userClaim .groupsClaim .prefix) -}}
{{- fail "callers.issuer says how its tokens are checked, but callers.issuer.url is empty: give it, or take the rest out" -}}
{{- end -}}
{{- if and .jwksUrl .jwksConfigMap -}}
{{- fail "callers.issuer.jwksUrl and callers.issuer.jwksConfigMap are both given: keep one" -}}
{{- end -}}
{{- end -}}
{{- with $callers.authorization -}}
{{- if and .rules .configMap -}}
{{- fail "callers.authorization.rules and callers.authorization.configMap are both given: keep one" -}}
{{- end -}}
{{- if and (eq (default "" .by) "rules") (not .rules) (not .configMap) -}}
{{- fail "callers.authorization.by is `rules`, but there are none: write callers.authorization.rules, or name a ConfigMap by callers.authorization.configMap" -}}
{{- end -}}
{{- if and .by (ne .by "rules") (or .rules .configMap) -}}
{{- fail (printf "callers.authorization.by is `%s`, but there are rules: set `callers.authorization.by: rules`, or take callers.authorization.rules and configMap out" .by) -}}
{{- end -}}
{{- end -}}
{{- if and $callers.tls.grpcSecret (not .Values.grpc.enabled) -}}
{{- fail "callers.tls.grpcSecret is given, but grpc.enabled is false: leave it empty" -}}
{{- end -}}
{{- end -}}
