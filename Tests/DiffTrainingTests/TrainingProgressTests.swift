import DiffTraining
import Testing

struct TrainingProgressTests {
    @Test func keepsWhatItIsTold() {
        let progress = TrainingProgress(step: 3, steps: 10, loss: 0.5, gradientNorm: 2)
        #expect(progress.step == 3 && progress.steps == 10 && progress.loss == 0.5 && progress.gradientNorm == 2)
    }
}
