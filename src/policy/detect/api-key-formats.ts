/** How keys of services look that mark theirs: what they begin with, what follows, how long that is. */
export interface KeyFormat {
  readonly prefix: string
  /** What follows the prefix. */
  readonly set: 'alnum' | 'url' | 'hex' | 'base32' | 'base64' | 'dotted'
  readonly min: number
  readonly max: number
  /** Has to match all that follows the prefix. */
  readonly shape?: RegExp
}

const GITHUB = { set: 'alnum', min: 36, max: 36 } as const
const url = (prefix: string, min: number, max = 256): KeyFormat => ({
  prefix,
  set: 'url',
  min,
  max,
})
const alnum = (prefix: string, min: number, max = min): KeyFormat => ({
  prefix,
  set: 'alnum',
  min,
  max,
})
const hex = (prefix: string, length: number): KeyFormat => ({
  prefix,
  set: 'hex',
  min: length,
  max: length,
})

/** From the providers' own documentation and from keys they issue; lengths leave room where they vary. */
export const KEY_FORMATS: readonly KeyFormat[] = [
  // Clouds. AWS: unique id prefixes of IAM and STS. Google: API keys, OAuth secrets and tokens.
  ...['AKIA', 'ASIA', 'ABIA', 'ACCA'].map((prefix): KeyFormat => ({
    prefix,
    set: 'base32',
    min: 16,
    max: 16,
  })),
  { prefix: 'ABSK', set: 'base64', min: 100, max: 200 },
  url('AIza', 35, 35),
  url('GOCSPX-', 28, 28),
  { prefix: 'ya29.', set: 'dotted', min: 30, max: 512 },
  { prefix: '1//0', set: 'url', min: 38, max: 120 },
  { prefix: 'AccountKey=', set: 'base64', min: 86, max: 88 },
  { prefix: 'SharedAccessKey=', set: 'base64', min: 43, max: 88 },
  hex('dop_v1_', 64),
  hex('doo_v1_', 64),
  hex('dor_v1_', 64),
  alnum('LTAI', 12, 24),
  alnum('HRKU-', 36, 64),
  url('HRKU-AA', 50, 64),
  alnum('dapi', 32, 34),
  url('hvs.', 24, 256),
  url('hvb.', 24, 256),
  { prefix: 'tfp_', set: 'url', min: 40, max: 80 },
  url('fo1_', 43, 43),
  // Code hosts and registries.
  { prefix: 'ghp_', ...GITHUB },
  { prefix: 'gho_', ...GITHUB },
  { prefix: 'ghu_', ...GITHUB },
  { prefix: 'ghs_', ...GITHUB },
  { prefix: 'ghr_', set: 'alnum', min: 36, max: 76 },
  {
    prefix: 'github_pat_',
    set: 'url',
    min: 82,
    max: 82,
    shape: /^[A-Za-z0-9]{22}_[A-Za-z0-9]{59}$/,
  },
  ...['glpat-', 'gldt-', 'glrt-', 'glsoat-', 'glptt-', 'glcbt-', 'glft-', 'glagent-', 'gloas-'].map(
    (prefix): KeyFormat => ({ prefix, set: 'dotted', min: 20, max: 300 }),
  ),
  { prefix: 'ATBB', set: 'url', min: 32, max: 40 },
  { prefix: 'ATCTT3xFf', set: 'base64', min: 100, max: 250 },
  { prefix: 'ATATT3xFf', set: 'base64', min: 100, max: 250 },
  alnum('npm_', 36),
  url('pypi-AgE', 50, 256),
  alnum('rubygems_', 48, 48),
  url('dckr_pat_', 27, 27),
  alnum('cio', 32, 32),
  // Models.
  { prefix: 'sk-', set: 'alnum', min: 48, max: 48 },
  url('sk-proj-', 40, 200),
  url('sk-svcacct-', 40, 200),
  url('sk-admin-', 40, 200),
  url('sk-None-', 40, 200),
  url('sk-ant-', 40, 200),
  hex('sk-or-v1-', 64),
  hex('sk-', 32),
  alnum('hf_', 34, 40),
  alnum('api_org_', 34, 40),
  alnum('gsk_', 48, 56),
  alnum('xai-', 70, 90),
  alnum('pplx-', 40, 60),
  alnum('r8_', 37, 40),
  alnum('fw_', 22, 30),
  alnum('nvapi-', 60, 80),
  url('nvapi-', 60, 80),
  alnum('jina_', 50, 70),
  url('pcsk_', 40, 90),
  url('tgp_v1_', 40, 60),
  alnum('lsv2_pt_', 32, 60),
  url('lsv2_pt_', 40, 60),
  url('lsv2_sk_', 40, 60),
  url('sk-lf-', 36, 36),
  url('pk-lf-', 36, 36),
  // Chat and mail.
  ...['xoxb-', 'xoxp-', 'xoxa-', 'xoxr-', 'xoxs-', 'xoxc-', 'xoxd-', 'xoxe-', 'xoxo-'].map(
    (prefix): KeyFormat => ({ prefix, set: 'url', min: 20, max: 250, shape: /\d/ }),
  ),
  { prefix: 'xapp-', set: 'url', min: 40, max: 150, shape: /^\d-[A-Z0-9]+-\d+-[a-f0-9]+$/ },
  {
    prefix: 'SG.',
    set: 'dotted',
    min: 60,
    max: 70,
    shape: /^[\w-]{20,24}\.[\w-]{39,50}$/,
  },
  hex('key-', 32),
  { prefix: 'xkeysib-', set: 'url', min: 81, max: 81, shape: /^[a-f0-9]{64}-[A-Za-z0-9]{16}$/ },
  { prefix: 'hooks.slack.com/services/', set: 'base64', min: 40, max: 60 },
  { prefix: 'discord.com/api/webhooks/', set: 'base64', min: 80, max: 110 },
  { prefix: 'discordapp.com/api/webhooks/', set: 'base64', min: 80, max: 110 },
  // Payment, telephony and the rest.
  ...['sk_live_', 'rk_live_', 'sk_test_', 'rk_test_', 'pk_live_', 'whsec_'].map((prefix) =>
    alnum(prefix, 24, 107),
  ),
  hex('AC', 32),
  hex('SK', 32),
  { prefix: 'sq0csp-', set: 'url', min: 43, max: 43 },
  { prefix: 'sq0atp-', set: 'url', min: 22, max: 22 },
  { prefix: 'EAAA', set: 'url', min: 56, max: 64 },
  hex('shpat_', 32),
  hex('shpss_', 32),
  hex('shpca_', 32),
  hex('shppa_', 32),
  hex('PMAK-', 24),
  { prefix: 'PMAK-', set: 'url', min: 59, max: 59, shape: /^[a-f0-9]{24}-[a-f0-9]{34}$/ },
  { prefix: 'NRAK-', set: 'base32', min: 27, max: 27 },
  alnum('NRAK-', 27, 27),
  alnum('lin_api_', 40, 48),
  alnum('secret_', 43, 43),
  alnum('ntn_', 40, 50),
  url('figd_', 40, 60),
  { prefix: 'glsa_', set: 'url', min: 41, max: 41, shape: /^[A-Za-z0-9]{32}_[a-f0-9]{8}$/ },
  { prefix: 'glc_', set: 'base64', min: 32, max: 400 },
  { prefix: 'dp.pt.', set: 'alnum', min: 40, max: 44 },
  { prefix: 'dp.st.', set: 'dotted', min: 40, max: 80 },
  { prefix: 'AGE-SECRET-KEY-1', set: 'alnum', min: 58, max: 58 },
  { prefix: 'sbp_', set: 'hex', min: 40, max: 40 },
  url('sntrys_', 60, 400),
  alnum('CFPAT-', 43, 43),
  url('CFPAT-', 43, 43),
  { prefix: 'patc', set: 'dotted', min: 70, max: 90 },
]
