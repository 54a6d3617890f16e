import { expect, test } from 'vitest'

import { systemErrorReport } from '../../src/auth-file/system-error.ts'

test.each([
  ['ENOENT', -2, '58P01', 'No such file or directory'],
  ['EACCES', -13, '42501', 'Permission denied'],
  ['EISDIR', -21, '42809', 'Is a directory'],
  ['ENODEV', -19, 'XX000', 'no such device'],
])('%s has the code and the words of PostgreSQL', (code, errno, sqlState, text) => {
  expect(systemErrorReport(Object.assign(new Error('x'), { code, errno }))).toEqual({
    code,
    sqlState,
    text,
  })
})

test('what is no system error is still reported', () => {
  expect(systemErrorReport(new Error('x'))).toEqual({
    code: '',
    sqlState: 'XX000',
    text: 'unknown error',
  })
})
