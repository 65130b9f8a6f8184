-- A small Wireshark dissector for multifd, the yardstick of the benchmark.
--
--   tshark -X lua_script:benchmarks/multifd.lua -o tcp.reassemble_out_of_order:TRUE -r CAPTURE
--
-- It finds channels by their magic and splits them into packets: initial packet, RAM packet, SYNC,
-- device state with its VFIO header.  TLS, resynchronising after holes and the main channel are
-- beyond it.  The layouts are those of docs/wire-format.md, sections 2 to 5.

local multifd = Proto("multifd", "QEMU multifd migration")

local HEADER, INIT, FIXED, DEVICE, VFIO = 12, 64, 320, 276, 12
local MAGIC, VERSION = 0x11223344, 1
local SYNC, DEVICE_STATE = 0x01, 0x40
local kinds = { [0] = "initial packet", [1] = "RAM", [2] = "SYNC", [3] = "device state" }

multifd.prefs.page_size = Pref.uint("Target page size", 4096, "Decides how many offsets a packet has")

local f = multifd.fields
f.kind = ProtoField.uint8("multifd.kind", "Kind", base.DEC, kinds)
f.magic = ProtoField.uint32("multifd.magic", "magic", base.HEX)
f.version = ProtoField.uint32("multifd.version", "version")
f.flags = ProtoField.uint32("multifd.flags", "flags", base.HEX)
f.uuid = ProtoField.guid("multifd.uuid", "uuid")
f.id = ProtoField.uint8("multifd.id", "id")
f.pages_alloc = ProtoField.uint32("multifd.pages_alloc", "pages_alloc")
f.normal_pages = ProtoField.uint32("multifd.normal_pages", "normal_pages")
f.next_packet_size = ProtoField.uint32("multifd.next_packet_size", "next_packet_size")
f.packet_num = ProtoField.uint64("multifd.packet_num", "packet_num")
f.zero_pages = ProtoField.uint32("multifd.zero_pages", "zero_pages")
f.ramblock = ProtoField.stringz("multifd.ramblock", "ramblock")
f.offset = ProtoField.bytes("multifd.offset", "offset[]")
f.idstr = ProtoField.stringz("multifd.idstr", "idstr")
f.instance_id = ProtoField.uint32("multifd.instance_id", "instance_id")
f.payload = ProtoField.bytes("multifd.payload", "payload")
f.vfio_version = ProtoField.uint32("multifd.vfio.version", "version")
f.vfio_idx = ProtoField.uint32("multifd.vfio.idx", "idx")
f.vfio_flags = ProtoField.uint32("multifd.vfio.flags", "flags", base.HEX)

local function is_header(buffer, offset)
    return buffer(offset, 4):uint() == MAGIC and buffer(offset + 4, 4):uint() == VERSION
end

-- The initial packet begins with the magic and version of a packet header.  The bytes behind its id
-- are zero; at their place other packets have their number or name (packet number 0 is a SYNC).
local function is_initial(buffer, offset, flags)
    if flags == SYNC or buffer:len() - offset < INIT then
        return false
    end
    for at = 28, 60, 4 do
        if buffer(offset + at, 4):uint() ~= 0 then
            return false
        end
    end
    return buffer(offset + 25, 3):uint() == 0
end

local function offsets_end(buffer, offset)
    local pages = buffer(offset + 12, 4):uint()
    if pages == 0 then
        pages = 524288 / multifd.prefs.page_size
    end
    return FIXED + 8 * pages
end

local function length_of(buffer, _, offset)
    if not is_header(buffer, offset) then
        return buffer:len() - offset
    end
    local flags = buffer(offset + 8, 4):uint()
    if is_initial(buffer, offset, flags) then
        return INIT
    end
    if bit.band(flags, DEVICE_STATE) ~= 0 then
        if buffer:len() - offset < DEVICE then
            return 0 -- not enough to tell
        end
        return DEVICE + buffer(offset + 272, 4):uint()
    end
    local payload = buffer(offset + 16, 4):uint() > 0 and buffer(offset + 20, 4):uint() or 0
    return offsets_end(buffer, offset) + payload
end

local function add_initial(tree, buffer)
    tree:add(f.uuid, buffer(8, 16))
    tree:add(f.id, buffer(24, 1))
end

local function add_device(tree, buffer)
    tree:add(f.idstr, buffer(12, 256))
    tree:add(f.instance_id, buffer(268, 4))
    tree:add(f.next_packet_size, buffer(272, 4))
    if buffer:len() >= DEVICE + VFIO then
        tree:add(f.vfio_version, buffer(DEVICE, 4))
        tree:add(f.vfio_idx, buffer(DEVICE + 4, 4))
        tree:add(f.vfio_flags, buffer(DEVICE + 8, 4))
    end
    if buffer:len() > DEVICE + VFIO then
        tree:add(f.payload, buffer(DEVICE + VFIO))
    end
end

local function add_ram(tree, buffer)
    local payload = offsets_end(buffer, 0)
    tree:add(f.pages_alloc, buffer(12, 4))
    tree:add(f.normal_pages, buffer(16, 4))
    tree:add(f.next_packet_size, buffer(20, 4))
    tree:add(f.packet_num, buffer(24, 8))
    tree:add(f.zero_pages, buffer(32, 4))
    tree:add(f.ramblock, buffer(64, 256))
    tree:add(f.offset, buffer(FIXED, payload - FIXED))
    if buffer:len() > payload then
        tree:add(f.payload, buffer(payload))
    end
end

local function kind_of(buffer, flags)
    if is_initial(buffer, 0, flags) then
        return 0
    elseif bit.band(flags, DEVICE_STATE) ~= 0 then
        return 3
    elseif bit.band(flags, SYNC) ~= 0 and buffer(16, 4):uint() + buffer(32, 4):uint() == 0 then
        return 2
    end
    return 1
end

local function dissect(buffer, pinfo, tree)
    pinfo.cols.protocol = "MULTIFD"
    local branch = tree:add(multifd, buffer())
    if not is_header(buffer, 0) then
        branch:add(f.payload, buffer())
        return buffer:len()
    end
    local flags = buffer(8, 4):uint()
    local kind = kind_of(buffer, flags)
    branch:add(f.kind, buffer(0, HEADER), kind)
    branch:add(f.magic, buffer(0, 4))
    branch:add(f.version, buffer(4, 4))
    if kind == 0 then
        add_initial(branch, buffer)
        return buffer:len()
    end
    branch:add(f.flags, buffer(8, 4))
    if kind == 3 then
        add_device(branch, buffer)
    else
        add_ram(branch, buffer)
    end
    return buffer:len()
end

function multifd.dissector(buffer, pinfo, tree)
    dissect_tcp_pdus(buffer, tree, 24, length_of, dissect)
    return buffer:len()
end

local function heuristic(buffer, pinfo, tree)
    if buffer:len() < 24 or not is_header(buffer, 0) then
        return false
    end
    pinfo.conversation = multifd
    multifd.dissector(buffer, pinfo, tree)
    return true
end

multifd:register_heuristic("tcp", heuristic)
