import { beforeEach, describe, expect, test } from 'vitest'
import { disposeValidators } from '../../src/validator/dispose-validators.ts'
import { fixture, freshLife, inline, readableLog } from './support.ts'

const validate = () => ({ authorized: false })

describe('what a module holds', () => {
  beforeEach(() => {
    freshLife()
  })

  test('is disposed of once, however often it is asked for', async () => {
    const life = freshLife()
    const loaded = await fixture('disposable.js', { settings: { name: 'a' } })
    const { log } = readableLog()
    await Promise.all([
      disposeValidators([loaded, loaded], { log }),
      disposeValidators([loaded], { log }),
    ])
    await disposeValidators([loaded], { log })
    expect(life).toEqual([['disposed', 'a']])
  })

  test('is disposed of also when the module before it fails, which the log says', async () => {
    const life = freshLife()
    const readable = readableLog()
    const modules = [
      inline({
        validate,
        [Symbol.asyncDispose]: () => {
          throw new Error('no')
        },
      }),
      await fixture('disposable.js', { settings: { name: 'b', fails: true } }),
      await fixture('disposable.js', { settings: { name: 'c' } }),
    ]
    await disposeValidators(modules, { log: readable.log })
    expect(life).toEqual([
      ['disposed', 'b'],
      ['disposed', 'c'],
    ])
    expect(readable.with('could not dispose of OAuth validator module')).toMatchObject([
      { validator: 'inline', level: 'warning', detail: expect.stringContaining('Error: no') },
      { validator: './disposable.js', detail: expect.stringContaining('the agent is stuck') },
    ])
  })

  test('is not waited for longer than agreed', async () => {
    freshLife({ dispose: new Promise(() => {}) })
    const readable = readableLog()
    const loaded = await fixture('disposable.js', { settings: { name: 'd' } })
    await disposeValidators([loaded], { log: readable.log, timeoutMs: 20 })
    expect(readable.with('OAuth validator module is still disposing')).toMatchObject([
      { validator: './disposable.js', waited_ms: 20 },
    ])
  })

  test('may be nothing', async () => {
    await disposeValidators([inline({ validate })], { log: readableLog().log })
  })
})
