{{/*
The largest useful number of processors, by the formula of `eventflow size`: more of them share the same quota and deliver
nothing more. The quotas are read from the value `config`.
*/}}

{{/* The flows in the configuration, as YAML: name -> {rate, needed}. A flow without a quota has neither. */}}
{{- define "event-flow.flows" -}}
{{- $toml := fromToml .Values.config -}}
{{- with $toml.Error }}
{{- fail (printf "config is not valid TOML: %s" .) }}
{{- end }}
{{- $flows := dict }}
{{- if or $toml.source $toml.target }}
{{- $_ := set $flows "default" $toml }}
{{- end }}
{{- range $name, $flow := $toml.flows }}
{{- $_ := set $flows $name $flow }}
{{- end }}
{{- range $name, $flow := $flows }}
{{- $target := $flow.target | default dict }}
{{ $name }}:
  {{- if hasKey $target "rate_per_s" }}
  {{- $perSecond := divf $target.rate_per_s ($target.cost | default 1) }}
  {{- $attempts := mulf $perSecond ($target.timeout_s | default 5) | ceil }}
  {{- $heldMax := divf 67108864 (dig "source" "max_body_bytes" 1048576 $flow) | floor | min 2000 | max 2 }}
  {{- $held := $attempts | max 2 | min $heldMax }}
  {{- $byCpu := divf $perSecond $.Values.processor.eventsPerSecond | ceil }}
  {{- $byAnswers := divf (mulf $perSecond $.Values.processor.answerSeconds) $held | ceil }}
  rate: {{ $perSecond }}
  needed: {{ max 1 $byCpu $byAnswers }}
  {{- else }} {}
  {{- end }}
{{- end }}
{{- end }}

{{/* The largest useful number of processors; empty if a flow has no quota, or if no flow is known. */}}
{{- define "event-flow.usefulProcessors" -}}
{{- $flows := include "event-flow.flows" . | fromYaml }}
{{- $rate := 0.0 }}
{{- $needed := 1 }}
{{- $isKnown := gt (len $flows) 0 }}
{{- range $flows }}
{{- if .needed }}
{{- $rate = addf $rate .rate }}
{{- $needed = max $needed .needed }}
{{- else }}
{{- $isKnown = false }}
{{- end }}
{{- end }}
{{- if $isKnown }}
{{- max $needed (divf $rate .Values.processor.eventsPerSecond | ceil) }}
{{- end }}
{{- end }}
