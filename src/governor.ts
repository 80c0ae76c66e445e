import type { Server } from 'node:http'
import { monitorEventLoopDelay } from 'node:perf_hooks'

import { AdminDesk } from './admin/server.ts'
import { Recorder } from './audit/record.ts'
import { endedKey, governorKeyId } from './auth/authenticate.ts'
import { type EndedKey, KeyRing } from './auth/key-ring.ts'
import type { KeySource } from './auth/key-store.ts'
import { UsualUse } from './auth/usual.ts'
import { every, monotonicMs, wallMs } from './clock.ts'
import type { Address, Snapshot } from './config/snapshot.ts'
import { DIALECTS } from './dialects.ts'
import { Echoes } from './echoes.ts'
import { GovernorError } from './errors.ts'
import { setGauges } from './gauges.ts'
import { ActiveCalls } from './http/active-calls.ts'
import { createAdminServer } from './http/admin.ts'
import { isCheck } from './http/check.ts'
import type { HttpExchange } from './http/exchange.ts'
import { type Mount, opensSession, opensTunnel } from './http/match.ts'
import { createProxyServer, listen } from './http/server.ts'
import { Spool } from './http/spool.ts'
import { renewTls } from './http/tls.ts'
import { openKeyStore } from './key-admin.ts'
import { openKeySource } from './key-source.ts'
import { openLimits, restoreLimits } from './limit-store.ts'
import { MemoryStore } from './limit/memory-store.ts'
import type { Log } from './log.ts'
import { createMetrics, type Metrics } from './metrics.ts'
import { openOwners } from './ownership-store.ts'
import { handle } from './pipeline.ts'
import { ruleDigest } from './policy/rule.ts'
import { selectorMatcher } from './policy/selectors.ts'
import type { Reloaded } from './reload.ts'
import { Retiring } from './retiring.ts'
import { createSocketStages, type SocketStages } from './session/socket-stages.ts'
import { createSessionStages, type StagesOf } from './session/stages.ts'
import { createTunnelStages, type TunnelStages } from './session/tunnel-stages.ts'
import { createCheckStages } from './stages/check-stages.ts'
import { KnownTenants } from './stages/known-tenants.ts'
import { createStages, type GovernorStages, mountsOf, type Shared } from './stages/stages.ts'
import { createWorld, droppedPools, poolsOf, type World } from './world.ts'

/** A revoked key stops within a second: looked for four times as often. */
const KEYS_REFRESH_MS = 250
/** When keys were last used is known to the minute; so many keys take about 10 ms. */
const USES_KEPT_MS = 60_000
const USES_MAX = 2_000
/** Whether the keys of an issuer of tokens are to be fetched anew. */
const ISSUERS_LOOK_MS = 1000
/** What shipping may take on shutdown even when calls took all of `timeouts.drain`. */
const SHIP_LEAST_MS = 2_000
/** And for when keys were last used, at most. */
const USES_LAST_MS = 2_000

/** What a sidecar is started with. */
export interface GovernorOptions {
  readonly snapshot: Snapshot
  readonly log: Log
  readonly version: string
}

/**
 * The composition root: config → stages → servers. One per process in production, several side by
 * side in tests. `start` opens everything or throws an error that says what could not be opened;
 * `reload` swaps a whole snapshot; `stop` drains, then closes.
 */
export class Governor {
  readonly metrics: Metrics
  readonly #shared: Shared
  readonly #store: KeySource
  readonly #desk: AdminDesk
  readonly #echoes = new Echoes()
  readonly #servers: Server[] = []
  readonly #retiring: Retiring
  readonly #timers: (() => void)[] = []
  readonly #delay: ReturnType<typeof monitorEventLoopDelay>
  #world!: World
  #stages!: GovernorStages
  #checkStages!: GovernorStages
  #socketStages!: SocketStages
  #tunnelStages!: TunnelStages
  #mounts: readonly Mount[] = []
  #sessionStages!: StagesOf
  #keysFault: string | null = null
  proxy: Address = { host: '', port: 0 }
  admin: Address | null = null
  health: Address | null = null

  private constructor(shared: Shared, store: KeySource, start: Snapshot) {
    this.#shared = shared
    this.#store = store
    this.#retiring = new Retiring(shared.active)
    this.#desk = new AdminDesk(shared, {
      start,
      snapshot: () => this.snapshot,
      keysChanged: () => this.#refreshKeys(),
    })
    this.metrics = shared.metrics
    this.#delay = monitorEventLoopDelay({ resolution: 10 })
    this.#delay.enable()
  }

  static async start({ snapshot, log, version }: GovernorOptions): Promise<Governor> {
    const metrics = createMetrics()
    const store = await openKeySource(snapshot, log)
    const ring = new KeyRing(store, (cache, result) => metrics.cacheRequests.inc({ cache, result }))
    const recorder = await Recorder.open({ snapshot, metrics, log, version })
    const owners = await openOwners(snapshot, { log, metrics }).catch(async (error: unknown) => {
      await recorder.close(0)
      throw error
    })
    const limits = await openLimits(snapshot, log)
    const tenants = new KnownTenants(() => openKeyStore(snapshot))
    const kept = { owners, tenants }
    const inFlight = { bytes: 0 }
    const usual = new UsualUse()
    const active = new ActiveCalls()
    const spool = new Spool(snapshot.audit.path)
    const held = { inFlight, spool, active, draining: false }
    const shared = { ring, usual, limits, recorder, metrics, log, ...kept, ...held }
    const governor = new Governor(shared, store, snapshot)
    try {
      await governor.#use(snapshot)
      if (limits instanceof MemoryStore) restoreLimits(snapshot, limits, log)
      await governor.#listen(snapshot)
    } catch (error) {
      await governor.stop(0)
      throw error
    }
    governor.#timers.push(every(KEYS_REFRESH_MS, () => governor.#refreshKeys()))
    governor.#timers.push(every(USES_KEPT_MS, () => void governor.#keepUses(USES_MAX)))
    governor.#timers.push(every(ISSUERS_LOOK_MS, () => governor.#world.ways.tokens?.tick()))
    return governor
  }

  get snapshot(): Snapshot {
    return this.#world.snapshot
  }

  get world(): World {
    return this.#world
  }

  get recorder(): Recorder {
    return this.#shared.recorder
  }

  get usual(): UsualUse {
    return this.#shared.usual
  }

  /** Swaps the snapshot as a whole. Listeners and files keep what they were opened with. */
  async reload(snapshot: Snapshot): Promise<void> {
    const former = this.#world
    await this.#use(snapshot)
    const [proxy] = this.#servers
    if (proxy !== undefined) renewTls(proxy, former.snapshot.listen.tls, snapshot.listen.tls)
    const dropped = [...droppedPools(former, this.#world), ...this.#echoes.dropped(snapshot)]
    void this.#retiring.retire(dropped)
  }

  /** Who reads the file again when the admin API is asked to; nobody does until this is called. */
  reloadBy(reload: () => Promise<Reloaded>): void {
    this.#desk.reloadBy(reload)
  }

  /** Why calls cannot be served now; empty when they can. */
  unready(): string[] {
    const reasons = []
    if (this.#shared.draining) reasons.push('shutting down')
    // Without a record calls go on there, so traffic need not go elsewhere.
    const { recorder } = this.#shared
    const isRequired = this.snapshot.audit.required
    if (isRequired && !recorder.healthy) reasons.push('the audit log cannot be written')
    if (isRequired && recorder.full) reasons.push('the audit log has reached audit.local_max')
    if (recorder.unacknowledged) {
      reasons.push('PostgreSQL does not take entries (audit.ack)')
    }
    if (this.#keysFault !== null) reasons.push('the key store cannot be read')
    const { fault = null } = this.#store
    if (fault !== null) reasons.push(fault)
    return reasons
  }

  /**
   * Takes no new connections, lets calls under way end for at most `drainMs`, cuts the rest off,
   * then makes everything recorded durable and closes the files.
   */
  async stop(drainMs = this.#world.snapshot.timeouts.drainMs): Promise<void> {
    this.#shared.draining = true
    for (const stopTimer of this.#timers) stopTimer()
    const deadlineMs = monotonicMs() + drainMs
    await this.#drain(deadlineMs)
    // What did not end by itself settles in the turns after its socket closed.
    await this.#settled()
    this.#delay.disable()
    await this.#desk.close()
    await this.#shared.limits.close()
    await this.#shared.owners?.close()
    // Calls may have taken all of the time; what they left is still sent where that is quick.
    const leastMs = Math.min(drainMs, SHIP_LEAST_MS)
    await this.#shared.recorder.close(Math.max(leastMs, deadlineMs - monotonicMs()))
    const late = new Promise((resolve) => void setTimeout(resolve, USES_LAST_MS).unref())
    await Promise.race([this.#keepUses(Infinity), late])
    await this.#store.close()
    const running = this.#world === undefined ? [] : poolsOf(this.#world)
    const pools = [...running, ...this.#retiring.pools]
    await Promise.all(pools.map((pool) => pool.destroy()))
    await this.#echoes.close()
  }

  async #drain(deadlineMs: number): Promise<void> {
    const open = new Set(this.#servers)
    for (const server of this.#servers) server.close(() => open.delete(server))
    for (const exchange of this.#shared.active) exchange.drain()
    const isBusy = () => open.size > 0 || this.#shared.active.size > 0
    while (isBusy() && monotonicMs() < deadlineMs) {
      // A connection is idle, and may be closed, only once its answer has been sent.
      for (const server of this.#servers) server.closeIdleConnections()
      await pause(20)
    }
    for (const exchange of this.#shared.active) {
      exchange.cut(new GovernorError('DRAINING'))
    }
    await this.#settled()
    for (const server of this.#servers) server.closeAllConnections()
  }

  /** Calls that were cut off are recorded, answered and gone; the last of them within a second. */
  async #settled(): Promise<void> {
    for (let turn = 0; this.#shared.active.size > 0 && turn < 50; turn++) await pause(20)
  }

  #keysUnderWay(): Set<string> {
    const keyIds = new Set<string>()
    for (const { trail } of this.#shared.active) {
      const principal = trail?.principal
      if (principal) keyIds.add(governorKeyId(principal))
    }
    return keyIds
  }

  /** A revoked or expired key ends at once, for answers under way as well. */
  #cutCalls(ended: ReadonlyMap<string, EndedKey>): void {
    if (ended.size === 0) return
    for (const exchange of this.#shared.active) {
      const how = ended.get(exchange.trail?.principal?.keyId ?? '')
      if (how !== undefined) exchange.cut(endedKey(how))
    }
  }

  async #use(snapshot: Snapshot): Promise<void> {
    const world = await createWorld(snapshot, {
      dialects: DIALECTS,
      echoUrl: (url) => this.#echoes.url(url),
      former: this.#world ?? null,
      metrics: this.metrics,
      log: this.#shared.log,
    })
    this.#shared.limits.reconfigure(snapshot.limits, selectorMatcher(snapshot.aliases))
    this.#shared.recorder.shipTo(snapshot.audit.ship)
    this.#tellOf(snapshot, 'live')
    if (snapshot.candidate !== null) this.#tellOf(snapshot.candidate, 'candidate')
    this.#world = world
    this.#stages = createStages(world, this.#shared)
    this.#checkStages = createCheckStages(this.#stages, world, this.#shared)
    this.#mounts = mountsOf(world)
    this.#tunnelStages = createTunnelStages(this.#stages, { world, shared: this.#shared })
    this.#sessionStages = createSessionStages(this.#stages, world, this.#shared)
    this.#socketStages = createSocketStages(this.#stages, {
      world,
      shared: this.#shared,
      // Events are decided by the snapshot of their moment, however old the session is.
      current: (session) => this.#sessionStages(session),
    })
    this.metrics.configSnapshot.reset()
    this.metrics.configSnapshot.set({ digest: snapshot.digest.slice(0, 12) }, 1)
    this.metrics.exceptionEnd.reset()
    for (const { id, expiresMs } of snapshot.exceptions) {
      this.metrics.exceptionEnd.set({ exception: id }, expiresMs / 1000)
    }
  }

  /** The audit names what a digest in its decisions means. */
  #tellOf(snapshot: Snapshot, role: 'live' | 'candidate'): void {
    const { digest, policies, exceptions } = snapshot
    this.#shared.recorder.use({
      role,
      digest,
      policies: policies.map((policy) => ({ ...policy, rule: ruleDigest(policy, snapshot) })),
      ...(exceptions.length > 0 && { exceptions }),
    })
  }

  async #listen({ listen: addresses, timeouts, maximums }: Snapshot): Promise<void> {
    const proxy = createProxyServer({
      headersMs: timeouts.clientHeadersMs,
      bodyMs: timeouts.clientBodyMs,
      connectionsMax: maximums.streams * 2 + 100,
      tls: addresses.tls,
      onExchange: (exchange) => {
        if (exchange.head !== null) return this.#upgrade(exchange)
        const stages = isCheck(exchange) ? this.#checkStages : this.#stages
        void handle(stages, exchange)
      },
      opensSession: ({ method = '', url: target = '', headers }) => {
        return opensSession({ method, target, headers }, this.#mounts)
      },
      onMalformed: (code, peer) => this.#shared.recorder.unauthenticated(code, peer),
      dialect: () => this.#world.upstreams[0]!.provider,
    })
    this.proxy = await this.#open(proxy, addresses.proxy, 'listen.proxy')
    if (addresses.admin !== null) {
      const hosts = new Set<string>()
      this.admin = await this.#open(this.#adminServer(hosts), addresses.admin, 'listen.admin')
      for (const host of [this.admin.host, 'localhost', '127.0.0.1', '[::1]']) {
        hosts.add(`${host}:${this.admin.port}`)
      }
    }
    if (addresses.health !== null) {
      this.health = await this.#open(this.#adminServer(null), addresses.health, 'listen.health')
    }
  }

  #upgrade(exchange: HttpExchange): void {
    const { method = '', url: target = '', headers } = exchange.incoming
    if (opensTunnel({ method, target, headers }, this.#mounts)) {
      void handle(this.#tunnelStages, exchange)
    } else void handle(this.#socketStages, exchange)
  }

  async #open(server: Server, address: Address, key: string): Promise<Address> {
    const { port } = await listen(server, address, key)
    this.#servers.push(server)
    return { host: address.host, port }
  }

  #adminServer(hosts: ReadonlySet<string> | null): Server {
    return createAdminServer({
      registry: this.metrics.registry,
      unready: () => this.unready(),
      beforeScrape: () => {
        const [shared, keys, desk, delay] = [this.#shared, this.#store, this.#desk, this.#delay]
        setGauges(this.#world, { shared, keys, desk, delay })
      },
      hosts,
      // The health listener is reached from outside of the pod, and has no more than it needs.
      api: hosts === null ? null : (...given) => void this.#desk.api.handle(...given),
    })
  }

  #refreshKeys(): void {
    try {
      this.#cutCalls(this.#shared.ring.refresh(this.#keysUnderWay(), wallMs()))
      this.#keysFault = null
    } catch (error) {
      // Known keys go on working; what cannot be seen is a revocation, so it is said loudly.
      if (this.#keysFault === null)
        this.#shared.log.error({ err: error }, 'Cannot read the key store')
      this.#keysFault = String(error)
    }
  }

  /** When keys were last used goes to their store in batches; what fails is lost, and matters little. */
  async #keepUses(max: number): Promise<void> {
    try {
      const uses = this.#shared.ring.takeUses(max)
      if (uses.size > 0) await this.#store.used?.(uses)
    } catch (error) {
      this.#shared.log.debug({ err: error }, 'Cannot keep when keys were last used')
    }
  }
}

function pause(timeMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, timeMs))
}
