import t from 'tap'

import { parseForm, PARTS_MAX } from '../../src/dialect/multipart.ts'
import { GovernorError } from '../../src/errors.ts'

const B = '----B'
const D = 'Content-Disposition: form-data; '

/** A form of one part with these headers. */
const one = (head: string, content = 'v') => `--${B}\r\n${head}\r\n\r\n${content}\r\n--${B}--\r\n`

function parsed(body: string | Buffer, boundary = B) {
  const bytes = Buffer.from(body as string, 'latin1')
  return parseForm(bytes, boundary).map(({ name, filename, type, start, end }) => {
    return [name, filename, type, bytes.toString('latin1', start, end)]
  })
}

function refusal(body: string, boundary = B): string {
  try {
    parsed(body, boundary)
    return 'accepted'
  } catch (error) {
    if (!(error instanceof GovernorError)) throw error
    return error.code
  }
}

t.test('parseForm() finds fields and files, bytes as they are', async (t) => {
  const file = `${D}name="file"; filename="a b.wav"\r\nContent-Type: audio/wav`
  const body = `--${B}\r\n${D}name="model"\r\n\r\nm\r\n--${B}\r\n${file}\r\n\r\n\0\r\n--\r\n\xff\r\n--${B}--\r\n`
  t.strictSame(parsed(body), [
    ['model', null, '', 'm'],
    ['file', 'a b.wav', 'audio/wav', '\0\r\n--\r\n\xff'],
  ])
  t.strictSame(parsed(body.slice(0, -2)), parsed(body), 'without the last line end')
  t.strictSame(parsed(`${body}\r\n`), parsed(body), 'with an empty line at the end')
})

t.test('parseForm() takes what clients send', async (t) => {
  for (const [name, head] of [
    ['no space', 'content-disposition:form-data;name="a"'],
    ['capitals', 'CONTENT-DISPOSITION: Form-Data; Name="a"'],
    ['a list', `${D}name="a[]"`],
    ['an object', `${D}name="a[b][]"`],
    ['a length', `${D}name="a"\r\nContent-Length: 1`],
    ['binary', `${D}name="a"\r\nContent-Transfer-Encoding: binary`],
    ['a charset', `${D}name="a"\r\nContent-Type: text/plain; charset=UTF-8`],
    ['codecs', `${D}name="a"; filename="x"\r\nContent-Type: audio/ogg; codecs=opus`],
    ['no filename', `${D}name="a"; filename=""`],
  ] as const) {
    t.equal(refusal(one(head)), 'accepted', name)
  }
  t.strictSame(parsed(one(`${D}name="a"`, '')), [['a', null, '', '']], 'an empty field')
})

t.test('parseForm() refuses what two servers would read differently', async (t) => {
  const good = one(`${D}name="a"`)
  t.equal(refusal(good), 'accepted')
  const wrong: Record<string, string> = {
    nothing: '',
    'no parts': `--${B}--\r\n`,
    'something before': `x\r\n${good}`,
    'an empty line before': `\r\n${good}`,
    'something after': `${good}x`,
    'another form after': `${good}${good}`,
    'an empty line and something after': `${good}\r\nx`,
    'two empty lines after': `${good}\r\n\r\n`,
    'half an empty line after': `${good}\r`,
    'no end': good.slice(0, -6),
    'half of the end': good.slice(0, -3),
    'lines that end with LF': good.replaceAll('\r\n', '\n'),
    'one line that ends with LF': good.replace(`v\r\n--${B}`, `v\n--${B}`),
    'a boundary with a space after': good.replace(`--${B}\r\n`, `--${B} \r\n`),
    'a boundary inside of a line': one(`${D}name="a"`, `v--${B}`),
    'a boundary that goes on': one(`${D}name="a"`, `v\r\n--${B}X\r\n`),
    'a boundary right after the headers': `--${B}\r\n${D}name="a"\r\n\r\n--${B}--\r\n`,
    'no headers': `--${B}\r\n\r\nv\r\n--${B}--\r\n`,
    'another boundary': good.replaceAll(B, '----C'),
    'no name': one('Content-Disposition: form-data'),
    'no disposition': one('Content-Type: text/plain'),
    'an attachment': one('Content-Disposition: attachment; name="a"'),
    'two dispositions': one(`${D}name="a"\r\n${D}name="b"`),
    'two names': one(`${D}name="a"; name="b"`),
    'a name without quotes': one(`${D}name=a`),
    'an escaped quote': one(`${D}name="a\\"b"`),
    'a backslash in a filename': one(`${D}name="a"; filename="a\\"; name=\\"b"`),
    'an extended filename': one(`${D}name="a"; filename*=UTF-8''x`),
    'both filenames': one(`${D}name="a"; filename="x"; filename*=UTF-8''y`),
    'a folded header': one(`${D}\r\n name="a"`),
    'a header without a name': one(`${D}name="a"\r\n: x`),
    'a space before the colon': one('Content-Disposition : form-data; name="a"'),
    'a NUL': one(`${D}name="a\0"`),
    'bytes that are not UTF-8': one(`${D}name="a"; filename="\xff"`),
    'a name of brackets': one(`${D}name="a[[[["`),
    'many brackets': one(`${D}name="a[b][c][d]"`),
    'a prototype': one(`${D}name="__proto__"`),
    'a header of the prototype': one(`${D}name="a"\r\n__proto__: x`),
    'another header': one(`${D}name="a"\r\nX-Other: x`),
    'a nested form': one(`${D}name="a"\r\nContent-Type: multipart/mixed; boundary=x`),
    'a message': one(`${D}name="a"\r\nContent-Type: message/rfc822`),
    'another charset': one(`${D}name="a"\r\nContent-Type: text/plain; charset=utf-7`),
    'two types': one(`${D}name="a"\r\nContent-Type: text/plain, text/html`),
    base64: one(`${D}name="a"\r\nContent-Transfer-Encoding: base64`),
    'quoted-printable': one(`${D}name="a"\r\nContent-Transfer-Encoding: quoted-printable`),
    'another length': one(`${D}name="a"\r\nContent-Length: 2`),
    'long headers': one(
      `${D}name="a"; filename="${'x'.repeat(250)}"\r\nContent-Type: a/${'b'.repeat(3000)}`,
    ),
  }
  for (const [name, body] of Object.entries(wrong)) t.equal(refusal(body), 'BODY_INVALID', name)
})

t.test('parseForm() takes a form in linear time, and not too many parts', async (t) => {
  const part = `--${B}\r\n${D}name="a[]"\r\n\r\nv\r\n`
  t.equal(parsed(`${part.repeat(PARTS_MAX)}--${B}--`).length, PARTS_MAX)
  t.equal(refusal(`${part.repeat(PARTS_MAX + 1)}--${B}--`), 'BODY_INVALID')
  t.equal(refusal(part.repeat(100_000)), 'BODY_INVALID')
  t.equal(refusal(`--${B}\r\n${'a'.repeat(4_000_000)}`), 'BODY_INVALID')
  t.equal(refusal(one(`${D}name="a"`, `\r\n--${B.slice(0, -1)}`.repeat(400_000))), 'accepted')
})

t.test('every byte of a form is somebody’s: cut anywhere, it is refused', async (t) => {
  const body = one(`${D}name="a"; filename="x"\r\nContent-Type: a/b`, '\r\n\r\n--')
  for (let at = 0; at < body.length - 2; at++) {
    t.equal(refusal(body.slice(0, at)), 'BODY_INVALID', `${at} bytes`)
  }
})
