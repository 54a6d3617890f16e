/**
 * Where a command writes.
 *
 * @module
 */

/** Standard output for answers, standard error for what is wrong. */
export interface Output {
  answer(text: string): void
  complain(text: string): void
}

/** The process's own. A reader that leaves (`pgbearer check | head`) is nobody's mistake. */
export const processOutput: Output = {
  answer: (text) => write(process.stdout, text),
  complain: (text) => write(process.stderr, text),
}

function write(stream: NodeJS.WriteStream, text: string): void {
  if (stream.listenerCount('error') === 0) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') {
        throw error
      }
    })
  }
  stream.write(text)
}
