/// One session for many tasks: they wait for one another, and a task that is cancelled ends its inference before the next layer.
///
/// Inferences run on the threads of Swift's pool, which are made for work like that; a session of more threads has its own beside them.
///
/// ```swift
/// let classifier = try InferenceActor(model)
/// let scores: [Float] = try await classifier.run(samples)
/// ```
public actor InferenceActor {
    private let session: Session
    private let token: CancelToken

    public init(_ model: Model, options: SessionOptions = SessionOptions()) throws {
        session = try model.makeSession(options)
        token = try CancelToken()
    }

    /// Sets input 0, runs, returns output 0. Throws `CancellationError` where the task is cancelled.
    public func run<In: TensorScalar, Out: TensorScalar>(_ input: [In], as _: Out.Type = Out.self) async throws -> [Out] {
        try session.setInput(input)
        try await infer()
        return try session.output()
    }

    /// Lets `fill` set the inputs, runs, and lets `read` look at the outputs: for images, for several inputs, and for those who copy nothing.
    public func run<R: Sendable>(fill: @Sendable (Session) throws -> Void, read: @Sendable (Session) throws -> R) async throws -> R {
        try fill(session)
        try await infer()
        return try read(session)
    }

    /// What the session counted.
    public var metrics: RunMetrics { get throws { try session.metrics } }

    /// Nothing else runs on the actor in between: no await here suspends.
    private func infer() async throws {
        token.reset()
        do {
            try await withTaskCancellationHandler {
                try session.run(cancel: token)
            } onCancel: { [token] in
                token.cancel()
            }
        } catch FleetfootError.cancelled {
            throw CancellationError()
        }
    }
}
