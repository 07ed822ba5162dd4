"""The Lua by which the gateway's Envoy checks keys, passwords and claims; `envoy_auth` says where it runs."""

from __future__ import annotations

from slipway._internal.model.auth import CONSUMER_HEADER

KEY_PREFIX = "key."
"""What the names of the entries of a host's metadata start with that say whose key a hash is."""
CONSUMER_PREFIX = "consumer."
"""What the names of the entries start with by which a route says who is let in. A script reads single entries."""
MAX_KEY_BYTES = 512
MAX_TOKEN_BYTES = 16 << 10

SHA256_SCRIPT = """\
local band, bxor, bnot, ror, rshift, tobit = bit.band, bit.bxor, bit.bnot, bit.ror, bit.rshift, bit.tobit
local ROUND = {
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
}

-- The SHA-256 of a text of less than 2^28 bytes, in hexadecimal.
local function sha256(text)
  local bits = #text * 8
  local padded = text .. "\\128" .. ("\\0"):rep((55 - #text) % 64) .. "\\0\\0\\0\\0" .. string.char(
    band(rshift(bits, 24), 255), band(rshift(bits, 16), 255), band(rshift(bits, 8), 255), band(bits, 255))
  local h = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  }
  local w = {}
  for start = 1, #padded, 64 do
    for i = 0, 15 do
      local one, two, three, four = padded:byte(start + 4 * i, start + 4 * i + 3)
      w[i + 1] = tobit(one * 16777216 + two * 65536 + three * 256 + four)
    end
    for i = 17, 64 do
      local near, far = w[i - 2], w[i - 15]
      local s1 = bxor(ror(near, 17), ror(near, 19), rshift(near, 10))
      local s0 = bxor(ror(far, 7), ror(far, 18), rshift(far, 3))
      w[i] = tobit(w[i - 16] + s0 + w[i - 7] + s1)
    end
    local a, b, c, d, e, f, g, last = h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]
    for i = 1, 64 do
      local s1 = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
      local choice = bxor(band(e, f), band(bnot(e), g))
      local first = tobit(last + s1 + choice + tobit(ROUND[i]) + w[i])
      local s0 = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
      local second = tobit(s0 + bxor(band(a, b), band(a, c), band(b, c)))
      last, g, f, e, d, c, b, a = g, f, e, tobit(d + first), c, b, a, tobit(first + second)
    end
    local sums = {a, b, c, d, e, f, g, last}
    for i = 1, 8 do
      h[i] = tobit(h[i] + sums[i])
    end
  end
  for i = 1, 8 do
    h[i] = bit.tohex(h[i])
  end
  return table.concat(h)
end
"""

REFUSAL_SCRIPT = """
-- What is not let in is turned down here; so is all that a mistake in this script or in its settings meets.
local function guard(handle, check)
  local fine, status, challenge = pcall(check, handle)
  if not fine then
    handle:logErr("a caller could not be checked: " .. tostring(status))
    status, challenge = 500, nil
  end
  if status then
    local answer = {[":status"] = tostring(status)}
    if challenge then
      answer["www-authenticate"] = challenge
    end
    handle:respond(answer)
  end
end
"""

CALLER_SCRIPT = (
    SHA256_SCRIPT
    + REFUSAL_SCRIPT
    + f"""
local MAX_KEY, MAX_TOKEN = {MAX_KEY_BYTES}, {MAX_TOKEN_BYTES}
local CONSUMER_HEADER, KEY_PREFIX, CONSUMER_PREFIX = "{CONSUMER_HEADER.lower()}", "{KEY_PREFIX}", "{CONSUMER_PREFIX}"
"""
    + """
local DIGITS = {}
for value, sign in ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"):gmatch("()(.)") do
  DIGITS[sign] = value - 1
end

-- What a text in base64 says; nil where it is none in its one way to be written.
local function from_base64(text)
  local digits, padding = text:match("^([A-Za-z0-9+/]*)(=?=?)$")
  if not digits or (#digits + #padding) % 4 ~= 0 or #digits % 4 == 1 then
    return nil
  end
  local found, held, count = {}, 0, 0
  for sign in digits:gmatch(".") do
    held, count = held * 64 + DIGITS[sign], count + 6
    if count >= 8 then
      count = count - 8
      local whole = math.floor(held / 2 ^ count)
      found[#found + 1] = string.char(whole)
      held = held - whole * 2 ^ count
    end
  end
  return held == 0 and table.concat(found) or nil
end

-- A header's value; nil where it is not there exactly once.
local function only(headers, name)
  return headers:getNumValues(name) == 1 and headers:get(name) or nil
end

local function owner_of(handle, key)
  if not key or #key == 0 or #key > MAX_KEY then
    return nil
  end
  return handle:virtualHost():metadata():get(KEY_PREFIX .. sha256(key))
end

local PROOFS = {}

function PROOFS.keys(handle, headers, context)
  return owner_of(handle, only(headers, context:get("header")))
end

function PROOFS.basic(handle, headers)
  local sent = only(headers, "authorization")
  local encoded = sent and #sent <= MAX_KEY * 2 and sent:match("^[Bb][Aa][Ss][Ii][Cc] +([^ ]+)$")
  local name, key = (encoded and from_base64(encoded) or ""):match("^([^:]+):(.+)$")
  local owner = owner_of(handle, key)
  return owner == name and owner or nil
end

local function check(handle)
  local context, headers = handle:filterContext(), handle:headers()
  local kind, challenge = context:get("kind"), context:get("challenge")
  if kind == "external" then
    -- What only the other server may say.
    for _, name in ipairs(context:get("remove")) do
      headers:remove(name)
    end
    return
  end
  if kind == "jwt" then
    -- Exactly one token, in the header that is for it. Whether it is true is the next filter's business.
    local sent = only(headers, "authorization")
    local token = sent and #sent <= MAX_TOKEN and sent:match("^[Bb]earer +([%w_-]+%.[%w_-]+%.[%w_-]+)$")
    if not token then
      return 401, challenge
    end
    headers:replace("authorization", "Bearer " .. token)
    return
  end
  local owner = PROOFS[kind](handle, headers, context)
  if not owner then
    return 401, challenge
  end
  if not context:get("all") and context:get(CONSUMER_PREFIX .. owner) ~= true then
    return 403
  end
  for _, name in ipairs(context:get("remove")) do
    headers:remove(name)
  end
  headers:replace(CONSUMER_HEADER, owner)
  handle:streamInfo():dynamicMetadata():set("slipway", "consumer", owner)
end

function envoy_on_request(handle)
  guard(handle, check)
end
"""
)

CLAIMS_SCRIPT = (
    REFUSAL_SCRIPT
    + """
-- Whether a claim is a text, or holds it: a list does, and the list of words that `scope` is.
local function holds(name, claim, wanted)
  if type(claim) == "string" then
    if claim == wanted then
      return true
    end
    for word in (name == "scope" and claim or ""):gmatch("[^ ]+") do
      if word == wanted then
        return true
      end
    end
    return false
  end
  if type(claim) == "table" then
    for _, member in ipairs(claim) do
      if member == wanted then
        return true
      end
    end
  end
  return false
end

-- What a header can say of a claim; nil where it cannot be said in one way.
local function as_header(claim)
  if type(claim) == "boolean" then
    return tostring(claim)
  end
  if type(claim) == "number" and claim == math.floor(claim) and math.abs(claim) < 2 ^ 53 then
    return ("%d"):format(claim)
  end
  if type(claim) == "string" and #claim <= 1024 and claim:find("^[\\33-\\126]") and claim:find("[\\33-\\126]$")
     and not claim:find("[^\\32-\\126]") then
    return claim
  end
end

local function check(handle)
  local context, headers = handle:filterContext(), handle:headers()
  local found = handle:streamInfo():dynamicMetadata():get("envoy.filters.http.jwt_authn")
  local payload, token = found.payload, found.header
  if context:get("algorithms")[token.alg] ~= true then
    return 401, context:get("challenge")
  end
  for _, asked in ipairs(context:get("claims")) do
    for _, wanted in ipairs(asked.values) do
      if not holds(asked.name, payload[asked.name], wanted) then
        return 403, context:get("insufficient")
      end
    end
  end
  for _, name in ipairs(context:get("remove")) do
    headers:remove(name)
  end
  for _, given in ipairs(context:get("headers")) do
    local claim = payload[given.claim]
    if claim ~= nil then
      local text = as_header(claim)
      if not text then
        return 403, context:get("insufficient")
      end
      headers:replace(given.header, text)
    end
  end
  for _, name in ipairs(context:get("limited")) do
    -- Who cannot be counted would have no limit.
    local text = as_header(payload[name])
    if not text then
      return 403, context:get("insufficient")
    end
    handle:streamInfo():dynamicMetadata():set("slipway", "claim." .. name, text)
  end
end

function envoy_on_request(handle)
  guard(handle, check)
end
"""
)
