/** On what a result was got: enough to compare by, nothing that names the machine. @module */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem, type } from 'node:os'

export interface Machine {
  readonly cores: number
  readonly cpu: string
  readonly memoryGiB: number
  readonly system: string
  readonly node: string
  readonly openssl: string
  /** Version of each program that is compared with; absent: not on the PATH. */
  readonly programs: Readonly<Record<string, string>>
}

export function describeMachine(): Machine {
  const programs = {
    haproxy: versionOf('haproxy', ['-v'], /version (\S+)/i),
    pgbouncer: versionOf('pgbouncer', ['--version'], /PgBouncer (\S+)/i),
  }
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}${isVirtual() ? ', virtual machine' : ''}`,
    node: serverNode(),
    openssl: process.versions.openssl,
    programs: Object.fromEntries(
      Object.entries(programs).flatMap(([name, version]) =>
        version === undefined ? [] : [[name, version]],
      ),
    ),
  }
}

/** Prints a description, and a line for each program that is missing. */
export function printMachine(machine: Machine): void {
  const { cores, cpu, memoryGiB, system, node, programs } = machine
  console.log(`${cores} cores of ${cpu}, ${memoryGiB} GiB, ${system}`)
  const versions = Object.entries(programs).map(([name, version]) => `${name} ${version}`)
  console.log([`pgbearer on Node ${node}`, ...versions].join(', '))
  for (const name of ['haproxy', 'pgbouncer']) {
    if (!(name in programs)) {
      console.log(`${name} is not on the PATH: not compared with it`)
    }
  }
}

/** The Node that runs pgbearer: `BENCH_NODE` names another than the one that runs the benchmark. */
export const SERVER_NODE: string = process.env['BENCH_NODE'] ?? process.execPath

function serverNode(): string {
  return SERVER_NODE === process.execPath
    ? process.versions.node
    : execFileSync(SERVER_NODE, ['-p', 'process.versions.node'], { encoding: 'utf8' }).trim()
}

function versionOf(program: string, args: string[], pattern: RegExp): string | undefined {
  try {
    return pattern.exec(execFileSync(program, args, { encoding: 'utf8' }))?.[1]
  } catch {
    return undefined
  }
}

function isVirtual(): boolean {
  try {
    return / hypervisor /.test(readFileSync('/proc/cpuinfo', 'utf8'))
  } catch {
    return false
  }
}
