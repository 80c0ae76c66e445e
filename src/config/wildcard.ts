/** Whether `pattern`, in which `*` stands for any characters, is all of `text`. */
export function wildcard(pattern: string, text: string): boolean {
  const [head = '', ...parts] = pattern.split('*')
  const tail = parts.pop()
  if (tail === undefined) return pattern === text
  if (!text.startsWith(head) || text.length < head.length + tail.length) return false
  let from = head.length
  for (const part of parts) {
    const found = text.indexOf(part, from)
    if (found === -1) return false
    from = found + part.length
  }
  return text.endsWith(tail) && text.length - tail.length >= from
}
