public import DiffTensor

extension TensorTable {
    /// Takes the tensors into `fingerprint`: names, types, shapes and places, and of their bytes those of small tensors and samples evenly
    /// spread over large ones. Weights that were trained further, merged or converted differ in all of their tensors, so that what is
    /// read, some tens of megabytes of gigabytes, tells them apart. Throws `io`.
    public func addFingerprint(to fingerprint: inout Fingerprint) throws(DiffError) {
        let samples = 16
        let length = 4096
        let block = try Storage(byteCount: samples &* length, budget: nil)
        for name in names.each {
            let place = try place(name)
            let entry = place.entry
            for text in [name, entry.type.rawValue, entry.shape.description].each { fingerprint.add(text) }
            let isSmall = entry.byteCount <= block.byteCount
            var taken = 0
            if isSmall {
                try readStored(place, from: 0, count: entry.byteCount, into: block, at: 0, pool: nil)
                taken = entry.byteCount
            } else {
                for sample in Indices(below: samples) {
                    // From the first bytes to the last ones.
                    let first = (entry.byteCount &- length) &* sample / (samples &- 1)
                    try readStored(place, from: first, count: length, into: block, at: taken, pool: nil)
                    taken &+= length
                }
            }
            try unsafe block.withBytes { (bytes) throws(DiffError) in
                unsafe fingerprint.add(UnsafeRawBufferPointer(rebasing: bytes.prefix(taken)))
            }
        }
    }
}

extension Checkpoint {
    /// Takes the checkpoint into `fingerprint`: its tensors, and whole the small files beside them that say how they are used (configurations,
    /// vocabularies), those of a pipeline's parts too. Throws `io` and what opening a part throws.
    public func addFingerprint(to fingerprint: inout Fingerprint) throws(DiffError) {
        try tensors.addFingerprint(to: &fingerprint)
        guard let directory else { return }
        try Self.addTexts(of: directory, to: &fingerprint)
        guard case .object(let members)? = pipeline else { return }
        for name in members.keys.sorted(by: JSON.precedes).each where Directory.isComponent(name) {
            guard try directory.containsDirectory(name) else { continue }
            fingerprint.add(name)
            let folder = try directory.subdirectory(name)
            try Self.addTexts(of: folder, to: &fingerprint)
            // A scheduler's or tokenizer's folder has no tensors.
            guard try !folder.names(endingIn: ".safetensors").isEmpty else { continue }
            try subdirectory(name).tensors.addFingerprint(to: &fingerprint)
        }
    }

    /// Takes in the small files of `directory`.
    public static func addTexts(of directory: Directory, to fingerprint: inout Fingerprint) throws(DiffError) {
        let largest = 64 << 20
        for ending in [".json", ".txt", ".model"].each {
            for name in try directory.names(endingIn: ending).sorted(by: JSON.precedes).each {
                let file = try directory.open(name)
                fingerprint.add(name)
                fingerprint.add(file.size)
                guard file.size <= largest else { continue }
                try unsafe file.contents(limit: largest).withBytes { (bytes) throws(DiffError) in
                    unsafe fingerprint.add(bytes)
                }
            }
        }
    }
}
