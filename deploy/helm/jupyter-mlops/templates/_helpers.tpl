{{- /* Called with the root and a component: "service", "upgrade" or "worker". */ -}}
{{- define "mlops.selector" -}}
app: jupyter-mlops
release: {{ .root.Release.Name }}
component: {{ .component }}
{{- end }}

{{- define "mlops.labels" -}}
app: jupyter-mlops
release: {{ .Release.Name }}
app.kubernetes.io/name: jupyter-mlops
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "mlops.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "mlops.serviceAccount" -}}
{{ .Values.serviceAccount.name | default .Values.name }}
{{- end }}

{{- define "mlops.prefix" -}}
{{ printf "/%s/services/%s/" (trimAll "/" .Values.hub.baseUrl) .Values.name | replace "//" "/" }}
{{- end }}

{{- define "mlops.databaseUrl" -}}
- name: MLOPS_TRACKING_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.database.existingSecret | default .Values.name }}
      key: {{ .Values.database.key }}
{{- end }}

{{- define "mlops.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "mlops.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* What cannot work is refused when the chart is rendered. */ -}}
{{- define "mlops.check" -}}
{{- if not (or .Values.database.url .Values.database.existingSecret) }}
{{- fail "say where the database is: database.url, or database.existingSecret" }}
{{- end }}
{{- if and .Values.database.url .Values.database.existingSecret }}
{{- fail "database.url and database.existingSecret are both set: leave one out" }}
{{- end }}
{{- if and (not .Values.artifacts.url) (gt (int .Values.replicas) 1) (ne .Values.artifacts.volume.accessMode "ReadWriteMany") }}
{{- fail "several replicas need artifacts.url (an object store), or a volume that is ReadWriteMany" }}
{{- end }}
{{- end }}
