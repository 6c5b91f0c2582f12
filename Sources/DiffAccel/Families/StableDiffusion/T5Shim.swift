import DiffCheckpoint
import DiffModels
import DiffTensor
struct T5Configuration { var width = 0; static let rules = ConfigRules(); init(_ c: JSONObject) throws(DiffError) {} }
final class T5Encoder: Sendable { let layout = SiteLayout(family: "x"); let width = 0; 
  init(_ c: T5Configuration, _ w: Weights) throws(DiffError) { throw DiffError(.unsupported, "T5") }
  func callAsFunction(_ ids: [[Int]], mask: [[Bool]]?, _ run: Run) throws(DiffError) -> Tensor { throw DiffError(.unsupported, "T5") } }
