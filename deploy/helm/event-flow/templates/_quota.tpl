{{/*
Numbers of processors, by the formula of `eventflow size`: all processors of a flow share one quota, so more of them than it
needs deliver nothing more. The quotas are read from the value `config`. A handler limits its calls in one processor.
*/}}

{{/*
The flows in the configuration, as YAML: the name, and {rate, needed, useful} of a flow with a quota. `needed` processors
reach the rate at the usual time of an answer, and `useful` ones if each answer takes the whole timeout.
*/}}
{{- define "event-flow.flows" -}}
{{- $toml := fromToml .Values.config -}}
{{- with $toml.Error }}
{{- fail (printf "config is not valid TOML: %s" .) }}
{{- end }}
{{- $flows := dict }}
{{- if or $toml.source $toml.target $toml.handler }}
{{- $_ := set $flows "default" $toml }}
{{- end }}
{{- range $name, $flow := $toml.flows }}
{{- $_ := set $flows $name $flow }}
{{- end }}
{{- range $name, $flow := $flows }}
{{- $target := default dict $flow.target }}
{{ $name | quote }}:{{/* else YAML would read `no` as false, and `010` as 8 */}}
  {{- if $target.rate_per_s }}
  {{- $rate := divf $target.rate_per_s (default 1 $target.cost) }}
  {{- $held := divf 67108864 (dig "source" "max_body_bytes" 1048576 $flow) | floor | min 2000 | max 2 }}
  {{- $timeout := default 5 $target.timeout_s }}
  {{- with $flow.handler }}
  {{- $held = min $held (default 8 .concurrency) }}
  {{- $timeout = default 30 .timeout_s }}
  {{- end }}
  {{- $ctx := dict "rate" $rate "held" $held "perCore" $.Values.processor.eventsPerSecond }}
  rate: {{ $rate }}
  needed: {{ include "event-flow.processorsFor" (merge (dict "answer" $.Values.processor.answerSeconds) $ctx) }}
  useful: {{ include "event-flow.processorsFor" (merge (dict "answer" $timeout) $ctx) }}
  {{- else }} {}
  {{- end }}
{{- end }}
{{- end }}

{{/* Processors that reach `rate` events per second: each has one core, and holds `held` events for the time of an `answer`. */}}
{{- define "event-flow.processorsFor" -}}
{{- max 1 (divf .rate .perCore | ceil) (divf (mulf .rate .answer) .held | ceil) }}
{{- end }}

{{/*
The same for all flows together, as YAML: {cores, needed, useful}. `cores` is for the sum of all quotas. The others are
missing if no flow is known, or if one of them has no quota.
*/}}
{{- define "event-flow.processors" -}}
{{- $flows := include "event-flow.flows" . | fromYaml }}
{{- $rate := 0.0 }}{{ $needed := 1 }}{{ $useful := 1 }}
{{- $isKnown := gt (len $flows) 0 }}
{{- range $flows }}
{{- if .rate }}
{{- $rate = addf $rate .rate }}
{{- $needed = max $needed .needed }}
{{- $useful = max $useful .useful }}
{{- else }}
{{- $isKnown = false }}
{{- end }}
{{- end }}
{{- $cores := divf $rate .Values.processor.eventsPerSecond | ceil }}
cores: {{ $cores }}
{{- if $isKnown }}
needed: {{ max $needed $cores }}
useful: {{ max $useful $cores }}
{{- end }}
{{- end }}
