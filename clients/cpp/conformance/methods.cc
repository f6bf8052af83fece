#include "methods.h"

#include "grpc/health/v1/health.grpc.pb.h"

using grpc::health::v1::Health;
namespace v1 = stepwire::v1;

namespace {

// Adds methods of one service, of any of the four kinds.
template <class T>
class Service {
 public:
  using Makers = std::map<std::string, std::function<void(Call&)>>;

  Service(Makers& makers, const std::shared_ptr<grpc::Channel>& channel) : makers_(makers), stub_(T::NewStub(channel)) {}

  template <class Method>
  void add(const std::string& name, Method method) {
    makers_[std::string(T::service_full_name()) + "/" + name] = [stub = stub_, method](Call& call) {
      call.make(*stub, method);
    };
  }

 private:
  Makers& makers_;
  std::shared_ptr<typename T::Stub> stub_;
};

}  // namespace

Methods::Methods(const std::shared_ptr<grpc::Channel>& channel) {
  Service<v1::ChatService> chat(makers_, channel);
  chat.add("StreamChat", &v1::ChatService::Stub::StreamChat);
  chat.add("Chat", &v1::ChatService::Stub::Chat);
  chat.add("Converse", &v1::ChatService::Stub::Converse);
  chat.add("CountTokens", &v1::ChatService::Stub::CountTokens);
  chat.add("ListModels", &v1::ChatService::Stub::ListModels);
  chat.add("GetModel", &v1::ChatService::Stub::GetModel);

  Service<v1::EmbedService> embed(makers_, channel);
  embed.add("ListEmbeddingModels", &v1::EmbedService::Stub::ListEmbeddingModels);
  embed.add("GetEmbeddingModel", &v1::EmbedService::Stub::GetEmbeddingModel);
  embed.add("Embed", &v1::EmbedService::Stub::Embed);
  embed.add("StreamEmbeddings", &v1::EmbedService::Stub::StreamEmbeddings);
  embed.add("Search", &v1::EmbedService::Stub::Search);

  Service<v1::ConversationService> conversation(makers_, channel);
  conversation.add("CreateConversation", &v1::ConversationService::Stub::CreateConversation);
  conversation.add("GetConversation", &v1::ConversationService::Stub::GetConversation);
  conversation.add("AppendMessages", &v1::ConversationService::Stub::AppendMessages);
  conversation.add("StreamMessages", &v1::ConversationService::Stub::StreamMessages);
  conversation.add("RenderConversation", &v1::ConversationService::Stub::RenderConversation);
  conversation.add("ListConversations", &v1::ConversationService::Stub::ListConversations);
  conversation.add("UpdateConversation", &v1::ConversationService::Stub::UpdateConversation);
  conversation.add("DeleteConversation", &v1::ConversationService::Stub::DeleteConversation);
  conversation.add("ForkConversation", &v1::ConversationService::Stub::ForkConversation);
  conversation.add("GetMessage", &v1::ConversationService::Stub::GetMessage);
  conversation.add("UpdateMessage", &v1::ConversationService::Stub::UpdateMessage);
  conversation.add("UploadImage", &v1::ConversationService::Stub::UploadImage);
  conversation.add("DownloadImage", &v1::ConversationService::Stub::DownloadImage);
  conversation.add("SearchMessages", &v1::ConversationService::Stub::SearchMessages);
  conversation.add("ExportConversation", &v1::ConversationService::Stub::ExportConversation);
  conversation.add("ImportConversation", &v1::ConversationService::Stub::ImportConversation);
  conversation.add("WatchConversation", &v1::ConversationService::Stub::WatchConversation);

  Service<v1::StepRunService> step_run(makers_, channel);
  step_run.add("RunStep", &v1::StepRunService::Stub::RunStep);
  step_run.add("CollectStep", &v1::StepRunService::Stub::CollectStep);
  step_run.add("RunInteractive", &v1::StepRunService::Stub::RunInteractive);
  step_run.add("ServeSteps", &v1::StepRunService::Stub::ServeSteps);
  step_run.add("ListSteps", &v1::StepRunService::Stub::ListSteps);
  step_run.add("ValidateStep", &v1::StepRunService::Stub::ValidateStep);

  Service<v1::PipelineService> pipeline(makers_, channel);
  pipeline.add("SavePipeline", &v1::PipelineService::Stub::SavePipeline);
  pipeline.add("GetPipeline", &v1::PipelineService::Stub::GetPipeline);
  pipeline.add("ListPipelines", &v1::PipelineService::Stub::ListPipelines);
  pipeline.add("DeletePipeline", &v1::PipelineService::Stub::DeletePipeline);

  Service<Health> health(makers_, channel);
  health.add("Check", &Health::Stub::Check);
  health.add("Watch", &Health::Stub::Watch);
}

void Methods::make(Call& call) const {
  const auto found = makers_.find(call.method());
  if (found == makers_.end()) {
    call.refuse();
  } else {
    found->second(call);
  }
}
