// A PDS and its directory of identities, told what to do by lines of JSON, each answered by one.
// node bluesky.mjs NODE_MODULES
import { createInterface } from 'node:readline'

const modules = process.argv[2]
const { TestNetworkNoAppView } = await import(`${modules}/@atproto/dev-env/dist/index.js`)
const { RichText } = await import(`${modules}/@atproto/api/dist/index.js`)

const network = await TestNetworkNoAppView.create({
  pds: { enableDidDocWithSession: true, rateLimitsEnabled: true },
})
const { ctx } = network.pds

const deeds = {
  // Moves an account: its DID document names another server from now on.
  async move({ did, to }) {
    await ctx.plcClient.updatePds(did, ctx.plcRotationKey, to)
    await ctx.idResolver.did.resolve(did, true)
    return {}
  },
  // What Bluesky's own app would find in a text.
  async facets({ text }) {
    const rich = new RichText({ text })
    rich.detectFacetsWithoutResolution()
    return { facets: rich.facets ?? [], graphemes: rich.graphemeLength }
  },
}

const say = (said) => process.stdout.write(JSON.stringify(said) + '\n')
say({ url: network.pds.url })
for await (const line of createInterface({ input: process.stdin })) {
  const { deed, ...given } = JSON.parse(line)
  try {
    say(await deeds[deed](given))
  } catch (error) {
    say({ error: String(error) })
  }
}
await network.close()
process.exit(0)
