import Foundation

/// What one query makes of some keys, by definition: the mean of their values, weighted by the softmax of scale · q · k + bias.
///
/// - Parameters:
///   - q: rows of queries; `row` is where the query's `dim` numbers begin.
///   - k: rows of keys; `places` are where those of the keys begin, here and in `v`.
///   - bias: what is added for each of the keys.
public func attended(
    _ q: [Double], at row: Int, to k: [Double], _ v: [Double], at places: [Int], dim: Int, scale: Double, bias: [Double]
) -> [Double] {
    var scores = [Double](repeating: 0, count: places.count)
    for (index, place) in places.enumerated() {
        var product = 0.0
        for d in 0..<dim { product += q[row + d] * k[place + d] }
        scores[index] = scale * product + bias[index]
    }
    let largest = scores.max() ?? 0
    let weights = scores.map { exp($0 - largest) }
    let sum = weights.reduce(0, +)
    var mean = [Double](repeating: 0, count: dim)
    for (place, weight) in zip(places, weights) {
        for d in 0..<dim { mean[d] += weight * v[place + d] / sum }
    }
    return mean
}
