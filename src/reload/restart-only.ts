/**
 * Settings that a running server keeps, whatever its file says by now.
 *
 * @module
 */
import { isDeepStrictEqual } from 'node:util'
import type { Settings } from '../config/settings.ts'
import type { Log } from '../log.ts'

/** What PostgreSQL calls the context `postmaster`. */
const RESTART_ONLY = [
  'listenAddresses',
  'unixSocketDirectories',
  'port',
  'maxConnections',
  'maxHandshakesInProgress',
  'maxLoginsInProgress',
  'loginQueueSize',
  'logFormat',
  'logMinMessages',
] as const satisfies readonly (keyof Settings)[]

/**
 * New settings with the running ones where only a restart can change them; each of those is told of, and the
 * others take effect (`guc-file.l: ProcessConfigFileInternal()`).
 */
export function keepRestartOnly(settings: Settings, running: Settings, log: Log): Settings {
  const kept: Partial<Record<(typeof RESTART_ONLY)[number], unknown>> = {}
  for (const name of RESTART_ONLY) {
    if (!isDeepStrictEqual(settings[name], running[name])) {
      const parameter = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
      log.log(`parameter "${parameter}" cannot be changed without restarting the server`)
    }
    kept[name] = running[name]
  }
  return Object.freeze({ ...settings, ...kept }) as Settings
}
