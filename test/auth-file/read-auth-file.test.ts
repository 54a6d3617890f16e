import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import {
  type AuthFile,
  MAX_INCLUDE_DEPTH,
  readAuthFile,
} from '../../src/auth-file/read-auth-file.ts'
import { ConfigFileError } from '../../src/errors.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

async function read(files: Readonly<Record<string, string>>): Promise<AuthFile & { path: string }> {
  const { path } = await temporaryDirectory()
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(path, name)), { recursive: true })
    writeFileSync(join(path, name), Buffer.from(content, 'latin1'))
  }
  return { ...readAuthFile(join(path, 'main')), path }
}

const words = ({ records }: AuthFile): string[] =>
  records.map(({ fields }) =>
    fields.map((field) => field.map(({ value }) => value).join('|')).join(' '),
  )

const lineNumbers = ({ records }: AuthFile): number[] => records.map(({ line }) => line)

describe('lines', () => {
  test.each([
    ['a b\nc\n', ['a b', 'c'], [1, 2]],
    ['a b', ['a b'], [1]],
    ['a\\\nb c\nd', ['ab c', 'd'], [1, 3]],
    ['a\\\r\nb\r\nd\r\n', ['ab', 'd'], [1, 3]],
    ['a \\ \nb', ['a \\', 'b'], [1, 2]],
    ['a\\\\\nb', ['a\\b'], [1]],
    ['a\\\n\\\nb', ['ab'], [1]],
    ['a\\\\\n\nb', ['a\\', 'b'], [1, 3]],
    ['a\\', ['a'], [1]],
    ['# x \\\nlost\nkept', ['kept'], [3]],
    ['"a\\\nb c"', ['ab c'], [1]],
    ['\n\n  \n a', ['a'], [4]],
    ['a\rb', ['a\rb'], [1]],
    ['a\u000bb\u000cc\xa0d', ['a\u000bb\u000cc\xa0d'], [1]],
    ['\xef\xbb\xbfa', ['\xef\xbb\xbfa'], [1]],
    ['a\0lost\nb\nc', ['ab', 'c'], [1, 2]],
    ['a b#c d\n', ['a b'], [1]],
    ['a "#" b', ['a # b'], [1]],
    ['a,b, c ,d', ['a|b|c d'], [1]],
    [',,a,,b,, ,c', ['a|b|c'], [1]],
    ['"" a""b """"', [' ab "'], [1]],
    ['"open and on', ['open and on'], [1]],
  ])('%j has the words %j', async (text, expected, lines) => {
    const file = await read({ main: text })
    expect(words(file)).toEqual(expected)
    expect(lineNumbers(file)).toEqual(lines)
    expect(file.errors).toEqual([])
  })

  test('keep what came before the join as raw text', async () => {
    const { records } = await read({ main: 'a \\\n  b # c\n' })
    expect(records[0]?.raw).toBe('a   b # c')
  })

  test.each([
    ['"a"', true],
    ['a"b"', false],
    ['""a', true],
    ['"a"b', true],
  ])('%s counts as quoted: %s', async (text, quoted) => {
    const { records } = await read({ main: text })
    expect(records[0]?.fields[0]?.[0]?.quoted).toBe(quoted)
  })

  test('a zero byte in a long line is an error, because nobody can say what PostgreSQL reads', async () => {
    const { errors, records } = await read({ main: `${'x'.repeat(2000)}\0\nb` })
    expect(errors).toHaveLength(1)
    expect(records[0]?.error).toBe(errors[0]?.message)
  })
})

describe('included files', () => {
  test('put their records where the line was, relative to their own directory', async () => {
    const file = await read({
      main: 'a\ninclude d/one\nz\n',
      'd/one': 'b\ninclude two\n',
      'd/two': 'c',
    })
    expect(words(file)).toEqual(['a', 'b', 'c', 'z'])
    expect(file.records[2]?.file).toBe(join(file.path, 'd/two'))
  })

  test('are named by exactly two fields, quoted or not', async () => {
    const file = await read({ main: 'include\ninclude one x\n"include" "one"', one: 'b' })
    expect(words(file)).toEqual(['include', 'include one x', 'b'])
  })

  test('may be missing only for include_if_exists', async () => {
    const file = await read({ main: 'include_if_exists no\ninclude no\n@no\na' })
    const missing = `could not open file "${join(file.path, 'no')}": No such file or directory`
    expect(file.errors.map(({ message, line, sqlState }) => [message, line, sqlState])).toEqual([
      [missing, 2, '58P01'],
      [missing, 3, '58P01'],
    ])
    expect(file.records.map(({ error }) => error)).toEqual([missing, missing, undefined])
  })

  test('that include_if_exists finds broken are errors', async () => {
    const { errors, path } = await read({ main: 'include_if_exists d', 'd/x': '' })
    expect(errors.map(({ message }) => message)).toEqual([
      `could not read file "${join(path, 'd')}": Is a directory`,
    ])
  })

  test('of a directory are its .conf files in byte order', async () => {
    const file = await read({
      main: 'include_dir d',
      'd/b.conf': 'b',
      'd/A.conf': 'A',
      'd/10.conf': '10',
      'd/9.conf': '9',
      'd/.x.conf': 'hidden',
      'd/x.config': 'other',
      'd/conf': 'short',
      'd/.conf': 'short',
      'd/sub.conf/x.conf': 'directory',
    })
    expect(words(file)).toEqual(['10', '9', 'A', 'b'])
    expect(file.errors).toEqual([])
  })

  test.each([
    [
      'include_dir ""',
      'empty configuration directory name: ""',
      'empty configuration directory name',
    ],
    [
      'include_dir no',
      'could not open configuration directory "*no": No such file or directory',
      'could not open directory "*no"',
    ],
  ])('%s is an error', async (main, message, view) => {
    const { errors, records, path } = await read({ main })
    const here = (text: string): string => text.replace('*', `${path}/`)
    expect(errors.map((error) => error.message)).toEqual([here(message)])
    expect(errors.map(({ viewMessage }) => viewMessage)).toEqual([here(view)])
    expect(records.map(({ error }) => error)).toEqual([here(view)])
  })

  test('of a directory that lead nowhere are an error', async () => {
    const { path } = await temporaryDirectory()
    mkdirSync(join(path, 'd'))
    symlinkSync('nowhere', join(path, 'd/x.conf'))
    writeFileSync(join(path, 'main'), 'include_dir d')
    expect(readAuthFile(join(path, 'main')).records[0]?.error).toBe(
      `could not stat file "${join(path, 'd/x.conf')}"`,
    )
  })

  test('nest ten levels deep and no further', async () => {
    const levels = (count: number): Record<string, string> =>
      Object.fromEntries(
        Array.from({ length: count + 1 }, (_, at) => [
          at === 0 ? 'main' : `f${at}`,
          at === count ? 'end' : `include f${at + 1}`,
        ]),
      )
    expect(words(await read(levels(MAX_INCLUDE_DEPTH)))).toEqual(['end'])
    const deeper = await read(levels(MAX_INCLUDE_DEPTH + 1))
    expect(deeper.errors.map(({ message, file, line }) => [message, file, line])).toEqual([
      [
        `could not open file "${join(deeper.path, 'f11')}": maximum nesting depth exceeded`,
        join(deeper.path, 'f10'),
        1,
      ],
    ])
  })

  test('that include themselves many times end at the limit of words', async () => {
    const directory = await temporaryDirectory()
    await directory.write('main', 'a b c @names\ninclude main\n'.repeat(10))
    await directory.write('names', 'd e f '.repeat(10))
    const { errors } = readAuthFile(join(directory.path, 'main'), { maxTokens: 10_000 })
    expect(errors.at(-1)?.message).toBe('more than 10000 words in all files together')
    expect(errors.length).toBeLessThan(10_000)
  })
})

describe('@file', () => {
  test('becomes all words of the file, comments, nesting and quotes included', async () => {
    const file = await read({
      main: 'x,@names,y z',
      names: 'a b,c # d\n"e f"\n@more "@more"\n',
      more: 'm',
    })
    expect(words(file)).toEqual(['x|a|b|c|e f|m|@more|y z'])
  })

  test.each([
    ['"@names"', ['@names']],
    ['@', ['@']],
    ['@"names"', ['n']],
    ['a @empty b', ['a b']],
  ])('%s is %j', async (main, expected) => {
    expect(words(await read({ main, names: 'n', empty: '# nothing' }))).toEqual(expected)
  })

  test('with a broken line breaks the line that names it', async () => {
    const { records, errors, path } = await read({ main: 'x @names', names: 'a\n@no' })
    const message = `could not open file "${join(path, 'no')}": No such file or directory`
    expect(records.map(({ error }) => error)).toEqual([message])
    expect(errors.map(({ file, line }) => [file, line])).toEqual([[join(path, 'names'), 2]])
  })
})

test('a main file that is missing is one error without a line', () => {
  const { records, errors } = readAuthFile('/nonexistent/pg_hba.conf')
  expect(records).toEqual([])
  expect(errors.map(({ located }) => located)).toEqual([
    '/nonexistent/pg_hba.conf: could not open file "/nonexistent/pg_hba.conf": No such file or directory',
  ])
})

test('no bytes make it throw, and no words are longer than the file', async () => {
  const { path } = await temporaryDirectory()
  const main = join(path, 'main')
  writeFileSync(join(path, 'n'), 'a b')
  const bytes = fc.array(
    fc.oneof(
      fc.constantFrom(...'"",  \t\n\n\\\\#@n\0\r'.split(''), 'include n\n', '@n', 'include_dir .'),
      fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
    ),
    { maxLength: 60 },
  )
  fc.assert(
    fc.property(bytes, (parts) => {
      const content = parts.join('')
      writeFileSync(main, Buffer.from(content, 'latin1'))
      const { records, errors, files } = readAuthFile(main)
      expect(errors.every((error) => error instanceof ConfigFileError)).toBe(true)
      const total = words({ records, errors, files }).join('').length
      // Every @n of two bytes becomes two words of one byte and a separator.
      expect(total).toBeLessThanOrEqual(content.length * 4)
    }),
    { numRuns: 500 },
  )
})

test('a million continuations take time for a million lines, not for their square', async () => {
  const { records } = await read({ main: `${'a\\\n'.repeat(1_000_000)}\nlast` })
  expect(records[0]?.fields[0]?.[0]?.value).toHaveLength(1_000_000)
  expect(records[1]?.line).toBe(1_000_002)
})
