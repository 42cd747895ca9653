{{/*
Pods of the services: everything that all of them have in common.

Each template takes (dict "root" $ "component" NAME). `component` is also the key of its values, and of its user in
`broker.users` unless `user` names another one.
*/}}

{{/*
Number of pods of a workload of the `kind`. With autoscaling it is the present one: without a number, an upgrade that
turns autoscaling on would stop all pods but one. A rendering without a cluster, such as by Argo CD, has no number.
*/}}
{{- define "event-flow.replicas" -}}
{{- $values := index .root.Values .component -}}
{{- if $values.autoscaling.enabled }}
{{- with lookup "apps/v1" .kind .root.Release.Namespace (include "event-flow.componentName" .) -}}
replicas: {{ .spec.replicas }}
{{- end }}
{{- else -}}
replicas: {{ $values.replicas }}
{{- end }}
{{- end }}

{{/* Metadata of a pod. The checksum makes a changed configuration start new pods. */}}
{{- define "event-flow.podMetadata" -}}
{{- $values := index .root.Values .component -}}
labels:
  {{- include "event-flow.labels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  kubectl.kubernetes.io/default-container: {{ .component }}
  {{- if not .root.Values.existingConfigMap }}
  checksum/config: {{ .root.Values.config | sha256sum }}
  {{- end }}
  {{- with $values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* The demands of the level "restricted" of the Pod Security Standards. No token, because no service calls the API of Kubernetes. */}}
{{- define "event-flow.podSecurity" -}}
automountServiceAccountToken: false
# Otherwise Kubernetes adds a variable EVENTFLOW_... to each pod for each Service with a name such as `eventflow-collector`.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "event-flow.containerSecurity" -}}
image: {{ include "event-flow.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{- define "event-flow.scheduling" -}}
{{- $values := index .root.Values .component -}}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  {{- range $key, $when := dict "topology.kubernetes.io/zone" $values.spread.zones "kubernetes.io/hostname" $values.spread.hosts }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $when }}
    labelSelector:
      matchLabels:
        {{- include "event-flow.selectorLabels" $ | nindent 8 }}
    # In an upgrade the pods of the old version do not count: they end, and could leave all new ones on one node.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end }}

{{/*
Variables of a container. `own` are those of the chart; a value is a text, or an object such as {valueFrom: ...}. `env` of
the service replaces `env` of all services, and both replace those of the chart. They are sorted by name, so that the same
values always give the same pod.
*/}}
{{- define "event-flow.env" -}}
{{- $values := index .root.Values .component -}}
{{- $env := dict }}
{{- range list .own .root.Values.env $values.env }}
{{- range $name, $value := . }}
{{- $_ := set $env $name $value }}
{{- end }}
{{- end }}
{{- range $name, $value := $env }}
- name: {{ $name }}
  {{- if kindIs "map" $value }}
  {{- toYaml $value | nindent 2 }}
  {{- else if and (kindIs "float64" $value) (eq $value (floor $value)) }}
  value: {{ int64 $value | quote }}{{/* a large number would become 1e+09 */}}
  {{- else }}
  value: {{ $value | toString | quote }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The chart's own variables for every service, as YAML. */}}
{{- define "event-flow.commonEnv" -}}
{{- $section := upper .component -}}
EVENTFLOW_CONFIG: /etc/eventflow/config/eventflow.toml
EVENTFLOW_TELEMETRY__LOG_FORMAT: {{ .root.Values.telemetry.logFormat }}
EVENTFLOW_TELEMETRY__LOG_LEVEL: {{ .root.Values.telemetry.logLevel }}
# The kubelet's probes and Prometheus ask here, and no Service for senders publishes it.
EVENTFLOW_{{ $section }}__ADMIN_HOST:
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
EVENTFLOW_{{ $section }}__ADMIN_PORT: {{ include "event-flow.adminPort" . | quote }}
{{ include "event-flow.connectionEnv" . }}
{{- with .root.Values.telemetry.otlp }}
{{- if .endpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_TRACES_SAMPLER: {{ .sampler }}
{{- if ne (toString .samplerArg) "" }}
OTEL_TRACES_SAMPLER_ARG: {{ .samplerArg | toString | quote }}
{{- end }}
# Before OTEL_... in the alphabet, because Kubernetes replaces $(NAME) only by variables that come before.
K8S_POD_NAME:
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
OTEL_RESOURCE_ATTRIBUTES: k8s.namespace.name={{ $.root.Release.Namespace }},k8s.pod.name=$(K8S_POD_NAME)
{{- end }}
{{- end }}
{{- end }}

{{/* Variables for RabbitMQ and the history, as YAML. */}}
{{- define "event-flow.connectionEnv" -}}
{{- with .root.Values.broker -}}
{{- if .url }}
EVENTFLOW_BROKER__URL: {{ .url | quote }}
EVENTFLOW_BROKER__USERNAME_FILE: /run/secrets/eventflow/broker-username
EVENTFLOW_BROKER__PASSWORD_FILE: /run/secrets/eventflow/broker-password
{{- else }}
EVENTFLOW_BROKER__URL_FILE: /run/secrets/eventflow/broker-url
{{- end }}
{{- with .managementUrl }}
EVENTFLOW_BROKER__MANAGEMENT_URL: {{ . | quote }}
{{- end }}
{{- end }}
{{- if include "event-flow.usesHistory" . }}
EVENTFLOW_HISTORY__URL_FILE: /run/secrets/eventflow/history-url
{{- end }}
{{- end }}

{{/* Not empty if a service uses the history and there is one. Collectors and relays do not. */}}
{{- define "event-flow.usesHistory" -}}
{{- if not (has .component (list "collector" "relay")) }}{{ .root.Values.history.existingSecret }}{{ end }}
{{- end }}

{{/* The Secret of the handlers, for the components that run them or connect to their databases. */}}
{{- define "event-flow.handlersSecret" -}}
{{- if has .component (list "processor" "tests") }}{{ .root.Values.handlers.existingSecret }}{{ end }}
{{- end }}

{{- define "event-flow.adminPort" -}}
{{- get (dict "collector" 9464 "processor" 9465 "console" 9466 "relay" 9467) .component }}
{{- end }}

{{- define "event-flow.brokerSecret" -}}
{{- $own := (index .root.Values.broker.users (default .component .user)).existingSecret -}}
{{- required "broker.existingSecret is missing: name the Secret with RabbitMQ's URL for each service" (default .root.Values.broker.existingSecret $own) }}
{{- end }}

{{- define "event-flow.probes" -}}
startupProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: { path: /livez, port: admin }
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: { path: /readyz, port: admin }
  periodSeconds: 3
  timeoutSeconds: 3
  failureThreshold: 2
{{- end }}

{{- define "event-flow.volumeMounts" -}}
{{- $values := index .root.Values .component -}}
- name: config
  mountPath: /etc/eventflow/config
  readOnly: true
- name: secrets
  mountPath: /run/secrets/eventflow
  readOnly: true
- name: tmp
  mountPath: /tmp
{{- if .root.Values.broker.tlsSecret }}
- name: broker-tls
  mountPath: /etc/eventflow/broker-tls
  readOnly: true
{{- end }}
{{- if include "event-flow.handlersSecret" . }}
- name: handlers
  mountPath: /run/secrets/handlers
  readOnly: true
{{- end }}
{{- with $values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The keys of a service in the Secrets of RabbitMQ and the history, as sources of one volume. */}}
{{- define "event-flow.connectionSecrets" -}}
{{- $broker := .root.Values.broker -}}
{{- $user := index $broker.users (default .component .user) -}}
- secret:
    name: {{ include "event-flow.brokerSecret" . }}
    items:
      {{- if $broker.url }}
      - { key: {{ $user.usernameKey }}, path: broker-username }
      - { key: {{ $user.passwordKey }}, path: broker-password }
      {{- else }}
      - { key: {{ $user.urlKey }}, path: broker-url }
      {{- end }}
{{- if include "event-flow.usesHistory" . }}
- secret:
    name: {{ .root.Values.history.existingSecret }}
    items:
      - { key: {{ index .root.Values.history.urlKeys (default .component .user) }}, path: history-url }
{{- end }}
{{- end }}

{{/*
Volumes of a pod. None has a `subPath`: Kubernetes renews the files of a changed Secret only in whole volumes. Each service
gets only its own keys of a Secret.
*/}}
{{- define "event-flow.volumes" -}}
{{- $values := index .root.Values .component -}}
- name: config
  configMap:
    name: {{ include "event-flow.configMapName" .root }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- include "event-flow.connectionSecrets" . | nindent 6 }}
      {{- if eq .component "relay" }}
      - secret:
          name: {{ required "relay.existingSecret is missing: name the Secret with the URL of the database" $values.existingSecret }}
          items:
            - { key: {{ $values.urlKeys.relay }}, path: database-url }
      {{- end }}
      {{- if and (eq .component "console") (eq $values.auth.mode "basic") }}
      - secret:
          name: {{ required "console.auth.existingSecret is missing: name the Secret with the console's users, or set console.enabled=false" $values.auth.existingSecret }}
          items:
            - { key: {{ $values.auth.usersKey }}, path: console-users }
      {{- end }}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
{{- with .root.Values.broker.tlsSecret }}
- name: broker-tls
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with include "event-flow.handlersSecret" . }}
- name: handlers
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- with $values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
