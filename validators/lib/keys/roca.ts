/**
 * The fingerprint of RSA keys made by a broken smart-card library (ROCA, CVE-2017-15361): their
 * private key can be computed from the public one.
 *
 * Such a modulus is a power of 65537 modulo every small prime; a sound one is so for all of the primes
 * below about once in 2^27 keys.
 *
 * @module
 */

const PRIMES = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157]

const POWERS = PRIMES.map((prime) => {
  const powers = new Set<number>()
  for (let power = 1; !powers.has(power); power = (power * 65537) % prime) {
    powers.add(power)
  }
  return { prime: BigInt(prime), powers }
})

/** @param modulus - the JWK member `n` */
export function hasRocaFingerprint(modulus: string): boolean {
  const n = BigInt(`0x${Buffer.from(modulus, 'base64url').toString('hex') || '0'}`)
  return POWERS.every(({ prime, powers }) => powers.has(Number(n % prime)))
}
