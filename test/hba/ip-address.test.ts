import { isIPv6 } from 'node:net'
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'

import {
  cidrMask,
  formatIpAddress,
  parseIpAddress,
  prefixLength,
} from '../../src/hba/ip-address.ts'

const canonical = (text: string): string | undefined => {
  const address = parseIpAddress(text)
  return address === undefined ? undefined : formatIpAddress(address)
}

describe('a numeric address is read as', () => {
  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['127.1', '127.0.0.1'],
    ['127.0.1', '127.0.0.1'],
    ['2130706433', '127.0.0.1'],
    ['0x7f000001', '127.0.0.1'],
    ['0177.0X0.00.1', '127.0.0.1'],
    ['1.2.65535', '1.2.255.255'],
    ['4294967295', '255.255.255.255'],
    ['0', '0.0.0.0'],
    ['::', '::'],
    ['::1', '::1'],
    ['::1.2.3.4', '::1.2.3.4'],
    ['::ffff:1.2.3.4', '::ffff:1.2.3.4'],
    ['::ffff:0:1.2.3.4', '::ffff:0:102:304'],
    ['0:0:0:0:0:0:1:2', '::0.1.0.2'],
    ['1:0:0:2:0:0:0:3', '1:0:0:2::3'],
    ['1:0:2:3:4:5:6:7', '1:0:2:3:4:5:6:7'],
    ['2001:DB8::', '2001:db8::'],
    ['fe80::1%1', 'fe80::1'],
    ['fe80::1%lo', 'fe80::1'],
    ['::1%4294967295', '::1'],
  ])('%s: %s', (text, expected) => {
    expect(canonical(text)).toBe(expected)
  })
})

describe('it is no numeric address', () => {
  test.each(
    [
      [
        '',
        ' 1.2.3.4',
        '1.2.3.4 ',
        '1.2.3.4.',
        '1..2',
        '1.2.3.4.5',
        '256.1.1.1',
        '1.256.1',
        '1.2.65536',
      ],
      [
        '4294967296',
        '08.1.1.1',
        '0x',
        '0xg',
        '-1',
        '+1',
        '1e3',
        '1.2.3.4x',
        'x',
        '1:2',
        ':::',
        '1::2::3',
      ],
      [
        '12345::',
        '::1.2.3',
        '::01.2.3.4',
        '::1%',
        '::1%x',
        '::1%-1',
        'fe80::1%nosuchinterface',
        '[::1]',
      ],
    ].flat(),
  )('%j', (text) => {
    expect(canonical(text)).toBeUndefined()
  })
})

test('every IPv6 address survives being written and read again', () => {
  const word = fc.constantFrom(0, 0, 0, 0, 1, 0xffff, 0xffff_ffff, 0x10000, 0x12345678)
  fc.assert(
    fc.property(fc.array(word, { minLength: 4, maxLength: 4 }), (words) => {
      const text = formatIpAddress({ family: 6, words })
      expect(isIPv6(text)).toBe(true)
      expect(parseIpAddress(text)).toEqual({ family: 6, words })
    }),
  )
})

test('no text makes it throw', () => {
  const text = fc.array(fc.constantFrom(...'0123456789abcdefx:.%/ '.split('')), { maxLength: 45 })
  fc.assert(
    fc.property(text, (parts) => {
      const address = parseIpAddress(parts.join(''))
      expect(address?.words.every((it) => it >= 0 && it <= 0xffff_ffff) ?? true).toBe(true)
    }),
    { numRuns: 3000 },
  )
})

describe('a prefix', () => {
  test.each([
    ['0', 4, 0],
    ['8', 4, 8],
    ['32', 4, 32],
    ['+8', 4, 8],
    [' 8', 4, 8],
    ['-0', 4, 0],
    ['008', 4, 8],
    ['128', 6, 128],
    ['65', 6, 65],
  ] as const)('/%s of IPv%i has %i bits', (text, family, bits) => {
    const mask = cidrMask(text, family)
    expect(mask === undefined ? undefined : prefixLength(mask)).toBe(bits)
  })

  test.each([
    ['33', 4],
    ['129', 6],
    ['-1', 4],
    ['', 4],
    ['8 ', 4],
    ['8x', 4],
    ['0x8', 4],
    ['1e1', 4],
    ['99999999999999999999', 6],
    ['255.0.0.0', 4],
  ] as const)('/%s of IPv%i is refused', (text, family) => {
    expect(cidrMask(text, family)).toBeUndefined()
  })
})
