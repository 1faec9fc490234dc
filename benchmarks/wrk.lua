-- Sends the bodies of a file (one a line) in a cycle; prints one line of JSON at the end.
-- wrk ... -s wrk.lua URL -- BODIES [KEY]
local requests, count, current = {}, 0, 0

function init(args)
  local headers = { ["Content-Type"] = "application/json" }
  if args[2] and args[2] ~= "" then headers["Authorization"] = "Bearer " .. args[2] end
  for line in io.lines(args[1]) do
    count = count + 1
    requests[count] = wrk.format("POST", nil, headers, line)
  end
end

function request()
  current = current % count + 1
  return requests[current]
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "microseconds": %d, "p50_microseconds": %.0f, "p99_microseconds": %.0f, "failed": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
