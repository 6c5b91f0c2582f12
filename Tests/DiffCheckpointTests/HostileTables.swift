/// The table of a safetensors header, and its length.
extension Hostile {
    // MARK: Length of the header (H01, H05, H06)

    static var lengths: [HostileFile] {
        var files = [
            file("empty", [], .fails(format, "an empty file")),
            file("seven-bytes", [UInt8](repeating: 1, count: 7), .fails(format, "too few")),
            file("length-only", image("", length: 2), .fails(format, "in a file of 8")),
            file("length-over-limit", image("{}", length: 100_000_001), .fails(format, "100000001")),
            file("length-one-more", image("{}", length: 3), .fails(format, "in a file of 10")),
            file("length-one-less", image("{}", length: 1), .fails(format, "bad JSON")),
            file("length-near-max", image("{}", length: .max - 7), .fails(format, "header of")),
        ]
        for number in numbers {
            files.append(
                file("length-\(number)", image("{}", data: 4, length: number), .fails(format, "x.safetensors")))
        }
        return files
    }

    // MARK: Table against bytes (H02-H05, H07-H09, H12, H16)

    static var tables: [HostileFile] {
        var files = [
            file("no-tensors", image("{}"), .loads),
            file("leading-space", image(" {}"), .fails(format, "begin with {")),
            file("trailing-spaces", image("{}   \n"), .loads),
            file(
                "any-order", image("{" + entry("b", "F32", "[1]", "[4,8]") + "," + entry("a") + "}", data: 8), .loads),
            file("scalar", one("F32", "[]", "[0,4]", data: 4), .loads),
            file("zero-size", one("F32", "[0]", "[0,0]", data: 0), .loads),
            file("zero-size-inside", one("F32", "[2,0,3]", "[0,0]", data: 0), .loads),
            file(
                "zero-times-huge", one("F32", "[0,9223372036854775808]", "[0,0]", data: 0), .fails(format, "bad JSON")
            ),
            file("zero-times-2^60", one("F32", "[0,1152921504606846976]", "[0,0]", data: 0), .fails(format, "shape")),
            file(
                "product-wraps-to-0", one("F32", "[4294967296,4294967296]", "[0,0]", data: 0), .fails(format, "shape")
            ),
            file(
                "product-wraps-outside", one("F32", "[4294967296,4294967296]", "[8,8]", data: 4),
                .fails(format, "shape")),
            file(
                "product-wraps-to-4", one("F32", "[4611686018427387905]", "[0,4]", data: 4),
                .fails(format, "tensor \"a\"")),
            file("exabytes", one("F32", "[1048576,1048576,1048576]", "[0,4]", data: 4), .fails(format, "shape")),
            file("gigabytes", one("F32", "[1073741824]", "[0,4]", data: 4), .fails(format, "needs 4294967296")),
            file(
                "gigabytes-claimed", one("F32", "[1073741824]", "[0,4294967296]", data: 4), .fails(format, "beyond")),
            file("shape-larger", one("F32", "[2]", "[0,4]", data: 4), .fails(format, "needs 8")),
            file("shape-smaller", one("F32", "[1]", "[0,8]", data: 8), .fails(format, "needs 4")),
            file("data-short", one("F32", "[2]", "[0,8]", data: 7), .fails(format, "beyond the file")),
            file("data-missing", one("F32", "[2]", "[0,8]", data: 0), .fails(format, "beyond the file")),
            file("data-short-f16", one("F16", "[3]", "[0,6]", data: 5), .fails(format, "beyond the file")),
            file("data-short-bf16", one("BF16", "[3]", "[0,6]", data: 4), .fails(format, "beyond the file")),
            file("trailing-byte", one("F32", "[1]", "[0,4]", data: 5), .fails(format, "1 bytes after")),
            file("trailing-bytes-no-tensors", image("{}", data: 100), .fails(format, "100 bytes after")),
            file("hole-before", one("F32", "[1]", "[4,8]", data: 8), .fails(format, "hole")),
            file("negative-begin", one("F32", "[1]", "[-1,3]", data: 4), .fails(format, "data_offsets[0]")),
            file("end-before-begin", one("F32", "[1]", "[4,0]", data: 4), .fails(format, "begin <= end")),
            file("begin-2^63", one("F32", "[1]", "[9223372036854775808,4]", data: 4), .fails(format, "line 1")),
            file(
                "offsets-near-max", one("F32", "[1]", "[9223372036854775803,9223372036854775807]", data: 4),
                .fails(format, "beyond any file")),
            file("one-offset", one("F32", "[1]", "[4]", data: 4), .fails(format, "data_offsets")),
            file("three-offsets", one("F32", "[1]", "[0,4,4]", data: 4), .fails(format, "data_offsets")),
            file("no-offsets", one("F32", "[1]", "[]", data: 4), .fails(format, "data_offsets")),
            file("offsets-string", one("F32", "[1]", "\"0,4\"", data: 4), .fails(format, "expected a list")),
            file("minus-dimension", one("F32", "[-1]", "[0,4]", data: 4), .fails(format, "shape[0]")),
            file("float-dimension", one("F32", "[1.0]", "[0,4]", data: 4), .fails(format, "found 1.0")),
            file(
                "exponent-dimension", one("F32", "[1e0]", "[0,4]", data: 4), .fails(format, "shape: expected integers")),
            file("plus-dimension", one("F32", "[+1]", "[0,4]", data: 4), .fails(format, "bad JSON")),
            file("octal-dimension", one("F32", "[01]", "[0,4]", data: 4), .fails(format, "bad JSON")),
            file("minus-zero", one("F32", "[-0]", "[0,0]", data: 0), .fails(format, "-0")),
            file("bool-dimension", one("F32", "[true]", "[0,4]", data: 4), .fails(format, "found true")),
            file("null-dimension", one("F32", "[null]", "[0,4]", data: 4), .fails(format, "found null")),
            file("string-dimension", one("F32", "[\"1\"]", "[0,4]", data: 4), .fails(format, "found \"1\"")),
            file("shape-number", one("F32", "1", "[0,4]", data: 4), .fails(format, "shape: expected a list")),
            file("unknown-dtype", one("Q4_K", "[1]", "[0,4]", data: 4), .fails(format, "unknown dtype")),
            file("lower-case-dtype", one("f32", "[1]", "[0,4]", data: 4), .fails(format, "unknown dtype")),
            file(
                "dtype-number", image("{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,4]}}", data: 4),
                .fails(format, "dtype")),
            file(
                "no-dtype", image("{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", data: 4),
                .fails(format, "dtype: missing")),
            file(
                "no-shape", image("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", data: 4),
                .fails(format, "shape: missing")),
            file(
                "no-data-offsets", image("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", data: 4),
                .fails(format, "data_offsets: missing")),
            file(
                "extra-field",
                image("{\"a\":{\"x\":[{}],\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", data: 4), .loads),
            file("entry-array", image("{\"a\":[\"F32\",[1],[0,4]]}", data: 4), .fails(format, "expected an object")),
            file("entry-null", image("{\"a\":null}", data: 4), .fails(format, "expected an object")),
            file("f4-odd", one("F4", "[3]", "[0,2]", data: 2), .fails(format, "whole bytes")),
            file("f4-even", one("F4", "[4]", "[0,2]", data: 2), .fails(unsupported, "F4")),
            file("f64-16-bytes", one("F64", "[4]", "[0,16]", data: 16), .fails(format, "needs 32")),
            file("f64-as-weight", one("F64", "[1]", "[0,8]", data: 8), .loads),
            file("i64-as-weight", one("I64", "[1]", "[0,8]", data: 8), .fails(unsupported, "I64")),
        ]
        let sizes = [
            "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
        ]
        for (dtype, size) in sizes.sorted(by: { $0.key < $1.key }) {
            // Declared as this type over the bytes of another.
            files.append(
                file(
                    "dtype-\(dtype)-over-f32", one(dtype, "[2]", "[0,8]", data: 8),
                    .fails(format, "needs \(2 * size)")))
        }
        for dtype in ["F32", "I32", "U32"] {
            files.append(
                file("dtype-\(dtype)-over-f16", one(dtype, "[2]", "[0,4]", data: 4), .fails(format, "needs 8")))
        }
        for position in 0..<4 {
            let dims = (0..<4).map { $0 == position ? "0" : "3" }.joined(separator: ",")
            files.append(file("zero-dimension-\(position)", one("F32", "[\(dims)]", "[0,0]", data: 0), .loads))
            files.append(
                file(
                    "zero-dimension-with-bytes-\(position)", one("F32", "[\(dims)]", "[0,4]", data: 4),
                    .fails(format, "needs 0")))
        }
        for rank in [1, 2, 7, 8, 9, 10, 16, 64, 65, 1000] {
            let dims = Array(repeating: "1", count: rank).joined(separator: ",")
            files.append(
                file(
                    "rank-\(rank)", one("F32", "[\(dims)]", "[0,4]", data: 4),
                    rank <= 8 ? .loads : .fails(format, "at most 8 axes")))
        }
        return files
    }

    /// Every number of the table at the values of ``numbers``.
    static var numbersInTables: [HostileFile] {
        var files: [HostileFile] = []
        for number in numbers {
            let fails = HostileFile.Verdict.fails(format, "x.safetensors")
            files.append(
                file("dimension-\(number)", one("F32", "[\(number)]", "[0,4]", data: 4), number == 1 ? .loads : fails)
            )
            files.append(
                file(
                    "dimensions-\(number)", one("F32", "[\(number),\(number)]", "[0,4]", data: 4),
                    number == 1 ? .loads : fails))
            files.append(
                file("begin-\(number)", one("F32", "[1]", "[\(number),4]", data: 4), number == 0 ? .loads : fails))
            files.append(file("end-\(number)", one("F32", "[1]", "[0,\(number)]", data: 4), fails))
        }
        return files
    }
}
