/**
 * A temporary directory, and the process working in it, that are gone when we are.
 *
 * A server left running or a directory left behind by a killed program would be worse than no demo,
 * and no handler runs on SIGKILL. So a small shell stands between: it is the parent of the process,
 * reads a pipe that nobody writes to, and ends the process and removes the directory when that pipe
 * closes, which the kernel does for us however this program ends.
 *
 * @module
 */
import { spawn } from 'node:child_process'
import { rm } from 'node:fs/promises'

/** The account a process runs as; absent: our own. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/** How it ended: the program's exit status, and all it wrote. */
export interface KeptEnd {
  /** Null where no program was started or the keeper itself was killed. */
  readonly status: number | null
  readonly output: string
}

export interface Kept {
  /** Settles when the program has ended and the directory is gone; never rejects. */
  readonly ended: Promise<KeptEnd>
  /** Starts the program, once. Its output goes to `log` in the directory. No word may be empty or hold a newline. */
  start(command: readonly string[], env: Readonly<Record<string, string>>): void
  /** Ends the program (SIGINT, after 2 s SIGQUIT, after 4 s SIGKILL) and removes the directory. */
  end(): Promise<KeptEnd>
}

// Standard input brings the words of the program, a line each, then an empty line; its end means
// that we are done or dead. The program gets another standard input, so that only `cat` waits here.
const KEEPER = `
directory=$1; shift
remove() {
  tries=0
  # Something orphaned may still be writing there (initdb, where we were killed early).
  until rm -rf "$directory" 2>/dev/null || [ $tries -eq 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
}
complete=
while IFS= read -r word; do
  [ "$word" ] || { complete=yes; break; }
  set -- "$@" "$word"
done
if [ -z "$complete" ]; then
  remove
  exit 0
fi
exec 3<&0
"$@" </dev/null 3<&- >"$directory/log" 2>&1 &
program=$!
(
  cat <&3 >/dev/null
  for signal in INT QUIT KILL; do
    kill -$signal $program 2>/dev/null
    tenths=0
    while [ $tenths -lt 20 ] && kill -0 $program 2>/dev/null; do
      sleep 0.1
      tenths=$((tenths + 1))
    done
  done
) &
wait $program
status=$?
cat "$directory/log" >&2
remove
trap '' TERM
kill -TERM 0
exit $status
`

/**
 * Starts the keeper of a directory, which must belong to the account.
 *
 * The keeper is a session of its own, so that a Ctrl-C in the terminal reaches only us and we decide
 * the order in which things end. It does not keep the event loop alive.
 */
export function keep(directory: string, account?: Account): Kept {
  const child = spawn('/bin/sh', ['-c', KEEPER, 'pgbearer-keeper', directory], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'pipe'],
    ...account,
  })
  const output: Buffer[] = []
  child.stderr.on('data', (chunk: Buffer) => output.push(chunk))
  // The other end may be gone before we write; `ended` tells then.
  child.stdin.on('error', () => {})
  child.unref()
  holdLoop(child.stdin, false)
  holdLoop(child.stderr, false)

  const ended = new Promise<KeptEnd>((resolve) => {
    const settle = (status: number | null, text: string): void => {
      child.stdin.destroy()
      void rm(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
        .catch(() => {})
        .then(() => resolve({ status, output: text }))
    }
    child.on('error', (error) => settle(null, error.message))
    child.on('close', (status) => settle(status, Buffer.concat(output).toString('utf8')))
  })
  return {
    ended,
    start(command, env) {
      const words = ['env', ...Object.entries(env).map(([name, value]) => `${name}=${value}`)]
      words.push(...command)
      if (words.some((word) => word === '' || word.includes('\n'))) {
        throw new TypeError('a word of the command is empty or has a newline')
      }
      child.stdin.write(`${words.join('\n')}\n\n`)
    },
    end() {
      child.ref()
      holdLoop(child.stderr, true)
      child.stdin.end()
      return ended
    },
  }
}

function holdLoop(stream: unknown, hold: boolean): void {
  // Pipes of a child are sockets in Node, whatever their declared type says.
  const socket = stream as { ref?: () => void; unref?: () => void }
  if (hold) {
    socket.ref?.()
  } else {
    socket.unref?.()
  }
}
