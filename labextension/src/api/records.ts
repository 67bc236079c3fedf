/** The API's records under the names that the service gives them. Fields with a default may be absent in answers. */
import type { components } from './schema';
import type { components as serverComponents } from './server';

type Schemas = components['schemas'];
type ServerSchemas = serverComponents['schemas'];

export type Alias = Schemas['Alias'];
export type AliasMove = Schemas['AliasMove'];
export type AliasPeriod = Schemas['AliasPeriod'];
export type AliasStanding = Schemas['AliasStanding'];
export type Artifact = Schemas['Artifact'];
export type CheckStatus = Schemas['CheckStatus'];
export type Comparison = Schemas['Comparison'];
export type Consumer = Schemas['Consumer'];
export type Experiment = Schemas['Experiment'];
export type Happening = Schemas['Happening'];
export type Mention = Schemas['Mention'];
export type MetricSummary = Schemas['MetricSummary'];
export type ModelCard = Schemas['ModelCard'];
export type ModelVersion = Schemas['ModelVersion'];
export type Param = Schemas['Param'];
export type Policy = Schemas['Policy'];
/** Who is asking; what they may do is for the server to say. */
export type Principal = Omit<Schemas['Principal'], 'scope' | 'group_scopes'>;
export type Problem = Schemas['Problem'];
export type Progress = Schemas['Progress'];
export type Promotion = Schemas['Promotion'];
export type PromotionEvidence = Schemas['PromotionEvidence'];
export type RegisteredModel = Schemas['RegisteredModel'];
export type Review = Schemas['Review'];
export type RunSide = Schemas['RunSide'];
export type Run = Schemas['Run'];
export type RunComment = Schemas['Comment'];
export type RunStatus = Schemas['RunStatus'];
export type Tag = Schemas['Tag'];
export type Waiting = Schemas['Waiting'];

export type FieldProblem = ServerSchemas['FieldProblem'];
export type Form = ServerSchemas['Form'];
export type Intent = ServerSchemas['Intent'];
export type JobStatus = ServerSchemas['JobStatus'];
export type NewRunJob = ServerSchemas['NewRunJob'];
export type Plan = ServerSchemas['Plan'];
export type Reproduction = ServerSchemas['Reproduction'];
export type ServerStatus = ServerSchemas['ServerStatus'];
