import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { parseAllDocuments } from 'yaml'

import { REPOSITORY } from './image.ts'

/** The parts of the manifests in deploy/kubernetes that the tests look at, named as Kubernetes names them. */

export interface SecurityContext {
  readonly runAsNonRoot?: boolean
  readonly runAsUser?: number
  readonly runAsGroup?: number
  readonly fsGroup?: number
  readonly allowPrivilegeEscalation?: boolean
  readonly readOnlyRootFilesystem?: boolean
  readonly privileged?: boolean
  readonly procMount?: string
  readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] }
  readonly seccompProfile?: { readonly type: string }
  readonly seLinuxOptions?: object
  readonly windowsOptions?: object
  readonly sysctls?: readonly object[]
}

export interface Probe {
  readonly httpGet: {
    readonly path: string
    readonly port: string | number
    readonly host?: string
  }
  readonly periodSeconds: number
  readonly timeoutSeconds: number
  readonly failureThreshold: number
}

export interface PodContainer {
  readonly name: string
  readonly image: string
  readonly restartPolicy?: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly env?: readonly {
    readonly name: string
    readonly value?: string
    readonly valueFrom?: { readonly fieldRef?: { readonly fieldPath: string } }
  }[]
  readonly ports?: readonly {
    readonly name: string
    readonly containerPort: number
    readonly hostPort?: number
  }[]
  readonly startupProbe?: Probe
  readonly readinessProbe?: Probe
  readonly livenessProbe?: Probe
  readonly lifecycle?: object
  readonly resources?: {
    readonly requests?: Readonly<Record<string, string>>
    readonly limits?: Readonly<Record<string, string>>
  }
  readonly securityContext?: SecurityContext
  readonly volumeMounts?: readonly {
    readonly name: string
    readonly mountPath: string
    readonly readOnly?: boolean
    readonly subPath?: string
  }[]
}

export interface Pod {
  readonly kind: 'Pod'
  readonly metadata: { readonly labels: Readonly<Record<string, string>> }
  readonly spec: {
    readonly automountServiceAccountToken?: boolean
    readonly terminationGracePeriodSeconds: number
    readonly hostNetwork?: boolean
    readonly hostPID?: boolean
    readonly hostIPC?: boolean
    readonly shareProcessNamespace?: boolean
    readonly securityContext: SecurityContext
    readonly initContainers: readonly PodContainer[]
    readonly containers: readonly PodContainer[]
    readonly volumes: readonly (Readonly<Record<string, object | string>> & {
      readonly name: string
      readonly secret?: { readonly secretName: string; readonly defaultMode: number }
      readonly emptyDir?: { readonly sizeLimit: string; readonly medium?: string }
    })[]
  }
}

/** Files of a configuration. */
export interface ConfigMap {
  readonly kind: 'ConfigMap'
  readonly metadata: { readonly name: string }
  readonly data: Readonly<Record<string, string>>
}

/** A job that is started again and again. */
export interface CronJob {
  readonly kind: 'CronJob'
  readonly spec: {
    readonly schedule: string
    readonly concurrencyPolicy: string
    readonly jobTemplate: {
      readonly spec: {
        readonly backoffLimit: number
        readonly activeDeadlineSeconds: number
        readonly template: { readonly spec: Omit<Pod['spec'], 'initContainers'> }
      }
    }
  }
}

/** The documents of a file in deploy/kubernetes, as they stand there. Throws what YAML says of them. */
export function readDocuments<Document>(file: string): Document[] {
  const text = readFileSync(join(REPOSITORY, 'deploy/kubernetes', file), 'utf8')
  return parseAllDocuments(text).map((document) => {
    if (document.errors.length > 0) throw document.errors[0]!
    return document.toJS() as Document
  })
}

/** The job of a file, its container, and the documents beside it. */
export function readJob(file: string) {
  const documents = readDocuments<CronJob | ConfigMap>(file)
  const job = documents.find((document) => document.kind === 'CronJob')!
  const { spec } = job.spec.jobTemplate.spec.template
  return {
    kinds: documents.map(({ kind }) => kind),
    documents,
    job,
    spec,
    own: spec.containers[0]!,
  }
}

/** The pod of the manifest, its sidecar and application, and the files of its ConfigMap. */
export function readManifest() {
  const documents = readDocuments<Pod | ConfigMap>('pod.yaml')
  const pod = documents.find((document) => document.kind === 'Pod')!
  const configMap = documents.find((document) => document.kind === 'ConfigMap')!
  const { initContainers, containers } = pod.spec
  return {
    kinds: documents.map(({ kind }) => kind),
    pod,
    configMap,
    governor: initContainers.find(({ name }) => name === 'governor')!,
    app: containers[0]!,
  }
}
