/**
 * What an operator switched off on purpose is said out loud at start.
 *
 * @module
 */
import type { ValidatorLog } from 'pgbearer/validator'

/** Prints each of them as a warning. */
export function warnOfRelaxations(settings: object, log: ValidatorLog): void {
  for (const relaxation of relaxations(settings)) {
    log.warning(`a check is relaxed by the setting ${relaxation}`)
  }
}

/** The settings in use whose names say that they relax a check, as `path = value`. */
export function relaxations(settings: object, path: readonly string[] = []): string[] {
  return Object.entries(settings).flatMap(([name, value]) => {
    const here = [...path, name]
    if (/^(allow|dangerously)_/.test(name)) {
      const off = value === false || value === undefined || isEmptyArray(value)
      return off ? [] : [`${here.join('.')} = ${JSON.stringify(value)}`]
    }
    const isTable = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isTable ? relaxations(value, here) : []
  })
}

function isEmptyArray(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0
}
