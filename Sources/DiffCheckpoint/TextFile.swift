public import DiffTensor

/// Text files that stand beside a checkpoint.
extension Directory {
    /// The JSON file `name`, or nil when it is not there.
    public func json(_ name: String, limits: JSON.Limits = JSON.Limits()) throws(DiffError) -> JSON? {
        guard try contains(name) else { return nil }
        let file = try open(name)
        return try unsafe file.contents(limit: limits.bytes).withBytes { (text) throws(DiffError) in
            try unsafe JSON(parsing: text, limits: limits, source: file.path)
        }
    }

    /// The bytes of the file `name`, at most `limit` of them, or nil when it is not there.
    public func bytes(_ name: String, limit: Int) throws(DiffError) -> [UInt8]? {
        guard try contains(name) else { return nil }
        return try unsafe open(name).contents(limit: limit).withBytes { (bytes) throws(DiffError) in
            unsafe Array(bytes)
        }
    }

    /// The lines of the text file `name`, at most `limit` bytes, or nil when it is not there. Lines end as on any system (LF, CR LF, CR);
    /// the last one may have no end; a mark of UTF-8 in front is left out. Throws `format` for invalid UTF-8.
    public func lines(_ name: String, limit: Int) throws(DiffError) -> [String]? {
        guard try contains(name) else { return nil }
        let file = try open(name)
        return try unsafe file.contents(limit: limit).withBytes { (bytes) throws(DiffError) in
            try unsafe TextFile.lines(bytes, source: file.path)
        }
    }
}

/// Lines of texts that other systems wrote.
enum TextFile {
    static func lines(_ bytes: UnsafeRawBufferPointer, source: String) throws(DiffError) -> [String] {
        let start = unsafe Array(bytes.prefix(3))
        if start.starts(with: [0xff, 0xfe]) || start.starts(with: [0xfe, 0xff]) {
            throw DiffError(.format, "\(source): UTF-16 text; save it as UTF-8")
        }
        let mark = start == [0xef, 0xbb, 0xbf] ? 3 : 0
        var lines: [String] = []
        var (open, position) = (mark, mark)
        func close(_ end: Int) throws(DiffError) {
            let start = unsafe bytes.baseAddress.map { unsafe $0 + open }
            let line = unsafe UnsafeRawBufferPointer(start: start, count: end &- open)
            guard let text = unsafe String(validating: line, as: UTF8.self) else {
                throw DiffError(.format, "\(source): line \(lines.count &+ 1) is not UTF-8; save the file as UTF-8")
            }
            lines.append(text)
        }
        while position < bytes.count {
            let byte = unsafe bytes[position]
            if byte == 10 || byte == 13 {
                try close(position)
                if byte == 13, position &+ 1 < bytes.count, unsafe bytes[position &+ 1] == 10 { position &+= 1 }
                open = position &+ 1
            }
            position &+= 1
        }
        if open < bytes.count { try close(bytes.count) }
        return lines
    }
}
