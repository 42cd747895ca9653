{{/*
Names and labels.

Most templates below take (dict "root" $ "component" NAME), since each service has its own pods, labels and values.
*/}}

{{- define "event-flow.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* At most 40 characters: a pod is named after its StatefulSet with a suffix, and a label has at most 63 characters. */}}
{{- define "event-flow.fullname" -}}
{{- $name := include "event-flow.name" . }}
{{- if .Values.fullnameOverride }}
{{- $name = .Values.fullnameOverride }}
{{- else if contains $name .Release.Name }}
{{- $name = .Release.Name }}
{{- else }}
{{- $name = printf "%s-%s" .Release.Name $name }}
{{- end }}
{{- $name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "event-flow.componentName" -}}
{{ include "event-flow.fullname" .root }}-{{ .component }}
{{- end }}

{{- define "event-flow.configMapName" -}}
{{- default (printf "%s-config" (include "event-flow.fullname" .)) .Values.existingConfigMap }}
{{- end }}

{{- define "event-flow.serviceAccountName" -}}
{{- $own := ternary (include "event-flow.fullname" .) "default" .Values.serviceAccount.create }}
{{- default $own .Values.serviceAccount.name }}
{{- end }}

{{/* The image of a component. Only processors run handlers, and `eventflow check` imports them too. */}}
{{- define "event-flow.image" -}}
{{- $image := .root.Values.image -}}
{{- if has .component (list "processor" "tests") }}
{{- with .root.Values.processor.image }}
{{- $image = ternary . $image (ne .repository "") }}
{{- end }}
{{- end }}
{{- $image.repository }}
{{- if $image.digest }}@{{ $image.digest }}{{ else }}:{{ default .root.Chart.AppVersion $image.tag }}{{ end }}
{{- end }}

{{/* The services that run, as a JSON array. */}}
{{- define "event-flow.components" -}}
{{- $names := list "collector" "processor" }}
{{- range $name := list "relay" "console" }}
{{- if (index $.Values $name).enabled }}{{ $names = append $names $name }}{{ end }}
{{- end }}
{{- toJson $names }}
{{- end }}

{{/* The labels by which Services, PDBs and policies select pods. They never change, because a workload's selector cannot. */}}
{{- define "event-flow.selectorLabels" -}}
app.kubernetes.io/name: {{ include "event-flow.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{/* The labels of every object. `component` is missing in objects that belong to all services. */}}
{{- define "event-flow.labels" -}}
{{ include "event-flow.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: event-flow
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
