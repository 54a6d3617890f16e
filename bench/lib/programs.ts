/** Starting what is measured, each on the core that is its own, and ending it whatever happens. @module */
import { type ChildProcess, execFileSync, spawn, type StdioPipe } from 'node:child_process'
import net from 'node:net'
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'

/** Where a process may run. `server`: what is measured. `load`: we, PostgreSQL and all else. `both`: there and here. */
export type Core = 'server' | 'load' | 'both'

const CORES: Record<Core, string> = { load: '0', server: '1', both: '0,1' }
const CAN_PIN = availableParallelism() > 1 && hasTaskset()

const running = new Set<ChildProcess>()

process.on('exit', () => {
  for (const child of running) {
    child.kill('SIGKILL')
  }
})

/** A program that runs. */
export interface Program {
  readonly pid: number
  stop(): Promise<void>
}

/**
 * Starts a program and waits until it listens.
 *
 * @throws {Error} with what it wrote, where it ends before that.
 */
export async function startProgram(
  command: string,
  args: readonly string[],
  { core, port }: { readonly core: Core; readonly port: number },
): Promise<Program> {
  const stdio: ['ignore', StdioPipe, StdioPipe] = ['ignore', 'pipe', 'pipe']
  const child = CAN_PIN
    ? spawn('taskset', ['-c', CORES[core], command, ...args], { stdio })
    : spawn(command, args, { stdio })
  running.add(child)
  let written = ''
  const keep = (text: string): void => {
    written = (written + text).slice(-4000)
  }
  child.stdout.setEncoding('utf8').on('data', keep)
  child.stderr.setEncoding('utf8').on('data', keep)
  let over = false
  const ended = new Promise<void>((resolve) => {
    const end = (): void => {
      over = true
      running.delete(child)
      resolve()
    }
    child.once('error', end)
    child.once('close', end)
  })
  while (!(await listens(port))) {
    if (over) {
      throw new Error(`${command} ended:\n${written}`)
    }
    await sleep(20)
  }
  return {
    pid: child.pid ?? 0,
    stop: async () => {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** Keeps this process, with all its threads, on its core, and what is started by it from now on. */
export function pinOurselves(): void {
  if (CAN_PIN) {
    pin(process.pid)
  } else {
    console.log('taskset or a second core is missing: nothing is kept on a core of its own')
  }
}

/** Keeps a process that runs, and what it starts from now on, off the core of what is measured. */
export function pinToLoad(pid: number): void {
  if (CAN_PIN) {
    pin(pid)
  }
}

function pin(pid: number): void {
  execFileSync('taskset', ['-a', '-p', '-c', CORES.load, String(pid)])
}

async function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = net.connect({ host: '127.0.0.1', port })
    const settle = (answer: boolean): void => {
      probe.destroy()
      resolve(answer)
    }
    probe.once('connect', () => settle(true))
    probe.once('error', () => settle(false))
  })
}

function hasTaskset(): boolean {
  try {
    execFileSync('taskset', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
